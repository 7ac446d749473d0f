"""How a prediction was made, as its output files state it."""

from dataclasses import dataclass
from typing import Final

from foldcli.protein.structure import Prediction

RELAXED: Final = "Relaxed with OpenMM in AMBER ff14SB, missing atoms and hydrogens built by PDBFixer"
UNTRAINED: Final = "UNTRAINED PARAMETERS: coordinates and confidences test the software and mean nothing else."


@dataclass(frozen=True)
class Provenance:
    """How a prediction was made.

    name: of the job; title: its FASTA header; version: of foldcli; parameters: a description of the weights, such as
    "AlphaFold 2022-12-06, CC BY 4.0"; trained: false for `untrained` weights; depth: rows of the alignment with
    the query, 1 for a single sequence; templates: the known chains that the model was shown; relaxation: its outcome,
    empty for a structure as predicted; given: phrases on what else the prediction was told.
    """

    name: str
    title: str
    version: str
    parameters: str
    trained: bool
    depth: int
    templates: tuple[str, ...] = ()
    relaxation: str = ""
    given: tuple[str, ...] = ()

    @property
    def caption(self) -> str:
        """The title, or the name where there is none, in printable ASCII: neither PDB nor mmCIF has more."""
        return ascii_line(self.title) or ascii_line(self.name)

    @property
    def heading(self) -> str:
        """The caption as the title of a file."""
        return self.caption if self.trained else f"{self.caption} (untrained parameters)"

    @property
    def input_kind(self) -> str:
        alone = "single sequence without an alignment"
        alignment = f"alignment of {self.depth} sequences" if self.depth > 1 else alone
        templates = [f"templates {', '.join(self.templates)}"] if self.templates else []
        return "; ".join([alignment, *templates, *self.given])


def ascii_line(text: str) -> str:
    """`text` on one line, with `?` for each character outside printable ASCII."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in " ".join(text.split()))


def remarks(prediction: Prediction, provenance: Provenance) -> list[str]:
    """Paragraphs for a PDB file's remarks: how the prediction was made, and what its B factors hold."""
    confidence = f"mean pLDDT {prediction.mean_plddt:.2f}"
    if prediction.ptm is not None:
        confidence += f", pTM {prediction.ptm:.2f}"
    if prediction.iptm is not None:
        confidence += f", ipTM {prediction.iptm:.2f}"
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
