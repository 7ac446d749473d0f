"""Where a prediction comes from, in the words that its files carry."""

from dataclasses import dataclass
from typing import Final

from foldcli.protein.structure import Prediction

RELAXED: Final = "Relaxed with OpenMM in AMBER ff14SB, missing atoms and hydrogens built by PDBFixer"
UNTRAINED: Final = "UNTRAINED PARAMETERS: coordinates and confidences test the software and mean nothing else."


@dataclass(frozen=True)
class Provenance:
    """What a file says of its making.

    name: the job; title: its header as written; version: that of foldcli; parameters: which they are, in one phrase
    ("AlphaFold 2022-12-06, CC BY 4.0"); trained: false for parameters made from their names; depth: rows of the
    alignment, the query's own included, so that 1 means a single sequence; templates: the known chains shown;
    relaxation: what became of the structure in one, empty where it is as predicted.
    """

    name: str
    title: str
    version: str
    parameters: str
    trained: bool
    depth: int
    templates: tuple[str, ...] = ()
    relaxation: str = ""

    @property
    def caption(self) -> str:
        """The title, or the name where there is none, in printable ASCII: neither PDB nor mmCIF has more."""
        return ascii_line(self.title) or ascii_line(self.name)

    @property
    def input_kind(self) -> str:
        alone = "single sequence without an alignment"
        alignment = f"alignment of {self.depth} sequences" if self.depth > 1 else alone
        return f"{alignment}; templates {', '.join(self.templates)}" if self.templates else alignment


def ascii_line(text: str) -> str:
    """`text` on one line, with a question mark for every character outside printable ASCII."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in " ".join(text.split()))


def remarks(prediction: Prediction, provenance: Provenance) -> list[str]:
    """Paragraphs on how `prediction` came about and what its B factors hold, for a PDB file's remarks."""
    confidence = f"mean pLDDT {prediction.mean_plddt:.2f}"
    if prediction.ptm is not None:
        confidence += f", pTM {prediction.ptm:.2f}"
    return [
        *([] if provenance.trained else [UNTRAINED]),
        f"{provenance.name}: {provenance.caption}",
        f"Predicted with foldcli {provenance.version}, an implementation of AlphaFold 2 "
        "(Jumper et al. 2021, doi:10.1038/s41586-021-03819-2).",
        f"Input: {provenance.input_kind}.",
        f"Model {prediction.model}, seed {prediction.seed}, {prediction.recycles} recycles.",
        f"Parameters: {provenance.parameters}.",
        *([f"{RELAXED}: {provenance.relaxation}."] if provenance.relaxation else []),
        f"B factors hold pLDDT, 0 to 100, higher is surer; {confidence}.",
    ]
