"""Predictions as ModelCIF, the extension of mmCIF for computed models (mmcif_ma dictionary)."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import gemmi
import ihm.citations
import ihm.format
import modelcif
import modelcif.associated
import modelcif.data
import modelcif.dumper
import modelcif.model
import modelcif.protocol
import modelcif.qa_metric as qa
import numpy as np
from numpy.typing import NDArray

from foldcli.errors import FoldcliError
from foldcli.protein.structure import Prediction, Structure
from foldcli.report.provenance import RELAXED, UNTRAINED, Provenance, ascii_line

_NOT_IN_ID: Final = re.compile(r"[^A-Za-z0-9_.-]")


class LocalPLDDT(qa.Local, qa.PLDDT):
    """Predicted lDDT-CA of a residue, 0 to 100."""

    name = "pLDDT"
    software = None


class MeanPLDDT(qa.Global, qa.PLDDT):
    """Mean over all residues of the predicted lDDT-CA, 0 to 100."""

    name = "mean pLDDT"
    software = None


class GlobalPTM(qa.Global, qa.PTM):
    """Predicted TM-score of the whole chain, 0 to 1."""

    name = "pTM"
    software = None


class GlobalIpTM(qa.Global, qa.IpTM):
    """Predicted TM-score of the interfaces of all chains, 0 to 1."""

    name = "ipTM"
    software = None


class AlignedErrors(modelcif.associated.File):
    """The file of a prediction's aligned errors, JSON or npz, which has one number for each pair of residues."""

    file_content = "QA metrics"

    def __init__(self, path: str, details: str) -> None:
        super().__init__(path, details)
        self.file_format = "json" if path.endswith(".json") else "other"  # the dictionary has no npz


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    quoted = gemmi.cif.quote(text)
    return f"\n{quoted}\n" if quoted.startswith(";") else quoted  # a text field has its lines to itself


_number: Final[Callable[[Any], str]] = ihm.format.CifWriter(None)._repr
_BY_TYPE: Final[dict[type, Callable[[Any], str]]] = {str: _quoted, int: str, type(None): lambda _: "."}


class WholeRows(ihm.format._CifLoopWriter):
    """A table with each row on a line, written at once: ihm writes value by value, twice as slow for a large chain."""

    def write(self, **row: object) -> None:
        values = [_BY_TYPE.get(type(value), _number)(value) for value in map(row.get, self.python_keys)]
        line = " ".join(values)
        if self._empty_loop or "\n" in line:
            super().write(**row)
        else:
            self.writer.fh.write(line + "\n")


class QuotingWriter(ihm.format.CifWriter):
    """Quotes text by the rules of CIF; ihm quotes it as Python does, which differs for `'` beside `"`, `\\` and `#`."""

    def loop(self, category: str, keys: list[str]) -> WholeRows:
        return WholeRows(self, category, keys)

    def _repr(self, obj: object) -> str:
        return _quoted(obj) if isinstance(obj, str) else _number(obj)


class Variant(modelcif.dumper.ModelCIFVariant):
    """ModelCIF in one file, by a QuotingWriter."""

    def get_system_writer(self, system: object, writer_class: object, writer: ihm.format.CifWriter) -> QuotingWriter:
        return QuotingWriter(writer.fh)


class StructureModel(modelcif.model.AbInitioModel):
    """A model whose atoms come from a Structure; asyms: its chains."""

    def __init__(self, structure: Structure, asyms: Sequence[modelcif.AsymUnit], name: str) -> None:
        super().__init__(assembly=modelcif.Assembly(asyms), name=name)
        self.structure, self.asyms = structure, asyms
        for chain, asym in zip(structure.chains, asyms, strict=True):
            for first, last in _empty_runs(structure.mask[chain.span]):
                self.not_modeled_residue_ranges.append(modelcif.model.NotModeledResidueRange(asym, first, last))

    def get_atoms(self) -> Iterator[modelcif.model.Atom]:
        places = list(_places(self.structure))
        for i, name, (x, y, z) in self.structure.atoms():
            k, seq_id = places[i]
            plddt = float(self.structure.b_factor[i])
            yield modelcif.model.Atom(self.asyms[k], seq_id, name, name[0], x, y, z, biso=plddt, occupancy=1.0)


def modelcif_text(prediction: Prediction, provenance: Provenance, errors_file: str = "") -> str:
    """The file's text: a prediction with its confidence, protocol and software; B factors hold pLDDT.

    errors_file: name of the file beside it that holds the aligned errors, empty for none.

    Errors: FoldcliError if a coordinate or a confidence is not finite, or no residue has atoms.
    """
    _check(prediction)
    structure = prediction.structure
    asyms = list(_asyms(structure, provenance.caption))
    entities = list(dict.fromkeys(asym.entity for asym in asyms))
    model = StructureModel(structure, asyms, f"{prediction.model}, seed {prediction.seed}")
    model.qa_metrics.extend(_confidence(prediction, asyms))

    system = _system(provenance)
    system.entities.extend(entities)
    system.asym_units.extend(asyms)
    system.model_groups.append(modelcif.model.ModelGroup([model], name="All models"))
    system.protocols.append(_protocol(prediction, provenance, entities, model))
    if errors_file:
        what = "predicted aligned error in angstrom of residue j (column) when aligned on residue i (row)"
        system.repositories.append(modelcif.associated.Repository(None, [AlignedErrors(errors_file, what)]))
    text = io.StringIO()
    modelcif.dumper.write(text, [system], variant=Variant)
    return text.getvalue()


def _check(prediction: Prediction) -> None:
    structure = prediction.structure
    if not structure.mask.any():
        raise FoldcliError("there are no atoms to write; give at least one residue that is not X")
    for what, values in (("a coordinate", structure.positions[structure.mask]), ("a pLDDT", prediction.plddt)):
        if not np.isfinite(values).all():
            raise FoldcliError(f"{prediction.model}: {what} is not finite")


def _components(sequence: str) -> list[modelcif.ihm.ChemComp]:
    alphabet = ihm.LPeptideAlphabet()
    return [alphabet["UNK" if letter == "X" else letter] for letter in sequence]


def _asyms(structure: Structure, caption: str) -> Iterator[modelcif.AsymUnit]:
    """A unit for each chain, in their order; copies of a sequence are units of one entity."""
    entities = {}
    for sequence, chains in structure.entities.items():
        names = ", ".join(chain.name for chain in chains)
        what = f"{caption}, chain{'s' * (len(chains) > 1)} {names}" if structure.chain_lengths else caption
        entities[sequence] = modelcif.Entity(_components(sequence), description=what)
    for chain in structure.chains:
        numbers = {seq_id: int(number) for seq_id, number in enumerate(structure.residue_index[chain.span], 1)}
        yield modelcif.AsymUnit(entities[structure.sequence[chain.span]], id=chain.name, auth_seq_id_map=numbers)


def _places(structure: Structure) -> Iterator[tuple[int, int]]:
    """The chain of each residue, from 0, and its place in it, from 1."""
    for k, chain in enumerate(structure.chains):
        yield from ((k, seq_id) for seq_id in range(1, chain.span.stop - chain.span.start + 1))


def _empty_runs(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last residue, counted from 1, of each run of residues without atoms; mask [i, 37]."""
    empty = np.concatenate([[False], ~mask.any(-1), [False]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(empty))
    for first, after in edges.reshape(-1, 2):
        yield int(first) + 1, int(after)


def _confidence(prediction: Prediction, asyms: Sequence[modelcif.AsymUnit]) -> Iterator[qa.MetricMode]:
    yield MeanPLDDT(round(prediction.mean_plddt, 2))
    if prediction.ptm is not None:
        yield GlobalPTM(round(prediction.ptm, 4))
    if prediction.iptm is not None:
        yield GlobalIpTM(round(prediction.iptm, 4))
    for (k, seq_id), value in zip(_places(prediction.structure), prediction.plddt, strict=True):
        yield LocalPLDDT(asyms[k].residue(seq_id), round(float(value), 2))


def _system(provenance: Provenance) -> modelcif.System:
    details = f"Parameters: {ascii_line(provenance.parameters)}. Input: {provenance.input_kind}."
    if not provenance.trained:
        details = f"{UNTRAINED} {details}"
    return modelcif.System(title=provenance.heading, id=_NOT_IN_ID.sub("_", provenance.name), model_details=details)


def _protocol(
    prediction: Prediction, provenance: Provenance, entities: Sequence[modelcif.Entity], model: modelcif.model.Model
) -> modelcif.protocol.Protocol:
    software = modelcif.Software(
        name="foldcli",
        classification="model building",
        description="AlphaFold 2 structure prediction from the command line",
        location=None,
        version=provenance.version,
        citation=ihm.citations.alphafold2,
    )
    settings = {"model": prediction.model, "seed": prediction.seed, "recycles": prediction.recycles}
    settings |= {"parameters": ascii_line(provenance.parameters), "trained": "yes" if provenance.trained else "no"}
    parameters = [modelcif.SoftwareParameter(name, value) for name, value in settings.items()]
    step = modelcif.protocol.ModelingStep(
        input_data=modelcif.data.DataGroup(entities),
        output_data=model,
        name="Prediction",
        details=f"AlphaFold 2 {prediction.model}, {prediction.recycles} recycles, {provenance.input_kind}",
        software=modelcif.SoftwareGroup([modelcif.SoftwareWithParameters(software, parameters)]),
    )
    protocol = modelcif.protocol.Protocol()
    protocol.steps.append(step)
    if provenance.relaxation:
        protocol.steps.append(_refinement(model, provenance))
    return protocol


def _refinement(model: modelcif.model.Model, provenance: Provenance) -> modelcif.protocol.ModelRefinementStep:
    openmm = modelcif.Software(
        name="OpenMM",
        classification="model refinement",
        description="molecular mechanics",
        location="https://openmm.org",
        version=None,
    )
    return modelcif.protocol.ModelRefinementStep(
        input_data=model,
        output_data=model,
        name="Relaxation",
        details=f"{RELAXED}: {provenance.relaxation}",
        software=modelcif.SoftwareGroup([openmm]),
    )
