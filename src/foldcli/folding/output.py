"""A finished job's folder: ranked structures, scores and plots; it appears complete or not at all."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from foldcli.data.features.merge import shown_alignment
from foldcli.data.query import Query
from foldcli.errors import FoldcliError
from foldcli.files import atomic_file, write_atomic
from foldcli.protein.structure import Prediction
from foldcli.report.aligned_errors import database_json, write_npz
from foldcli.report.modelcif import modelcif_text
from foldcli.report.pdb import PdbLimitError, pdb_text
from foldcli.report.plots import coverage_png, pae_png, plddt_png, ranking_png
from foldcli.report.provenance import Provenance, remarks
from foldcli.report.scores import ranking_scores_csv, scores_json, summary_confidences_json
from foldcli.timers import Timers

ERRORS = "predicted_aligned_error"


@contextlib.contextmanager
def job_folder(out: Path, name: str, overwrite: bool) -> Iterator[Path]:
    """A temporary folder that is renamed to the job's name when the block succeeds, and deleted when it fails.

    An earlier folder of that name is renamed, or deleted if `overwrite`. FoldcliError: it cannot be written.
    """
    draft, final = out / f".{name}.part", out / name
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        yield draft
        if final.exists():
            before = _earlier_name(final)
            final.rename(before)
            draft.rename(final)
            if overwrite:
                shutil.rmtree(before, ignore_errors=True)
        else:
            draft.rename(final)
    except OSError as error:
        raise FoldcliError(f"{final}: cannot be written ({error.strerror or error}); use another --out") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _earlier_name(final: Path) -> Path:
    numbered = (final.with_name(f"{final.name}.earlier-{k}") for k in range(1, 10**6))
    return next(path for path in numbered if not path.exists())


def write_job(
    folder: Path, query: Query, a3m: str, ranked: Sequence[tuple[Prediction, Provenance]], rank_by: str, pae: str
) -> list[str]:
    """Write the structures and scores of a job, best prediction first; a3m: its alignment, empty for none.

    rank_by, pae: as the settings; what the predictions are sorted by, and how their aligned errors are written. Returns
    why there are no PDB files, where there are none.
    """
    notes = [
        _write_prediction(folder, _label(rank, prediction), prediction, provenance, pae)
        for rank, (prediction, provenance) in enumerate(ranked, start=1)
    ]
    predictions = [prediction for prediction, _ in ranked]
    write_atomic(folder / f"{query.name}_summary_confidences.json", summary_confidences_json(predictions[0], rank_by))
    write_atomic(folder / "ranking_scores.csv", ranking_scores_csv(predictions, rank_by))
    if a3m:
        write_atomic(folder / f"{query.name}.a3m", a3m)
    return [note for note in dict.fromkeys(notes) if note]


def write_plots(folder: Path, query: Query, predictions: Sequence[Prediction]) -> None:
    """Draw confidence and ranking of a job's predictions, and the coverage of its alignment."""
    plddt_png(predictions, folder / f"{query.name}_plddt.png")
    if len(predictions) > 1:
        ranking_png(predictions, folder / f"{query.name}_ranking.png")
    if any(prediction.pae is not None for prediction in predictions):
        pae_png(predictions, folder / f"{query.name}_pae.png")
    tokens, of = shown_alignment(query).tokens, predictions[0].structure
    coverage_png(tokens, folder / f"{query.name}_coverage.png", int(of.residue_index[0]), of.chain_lengths)


def structure_file(folder: Path, rank: int, prediction: Prediction, provenance: Provenance) -> Path:
    """The mmCIF file that `write_job` writes for a prediction."""
    return folder / f"{provenance.name}_unrelaxed_{_label(rank, prediction)}.cif"


def write_relaxed(
    folder: Path, rank: int, prediction: Prediction, provenance: Provenance, figures: Mapping[str, float | int | str]
) -> None:
    """Write a relaxed structure and the figures of its relaxation."""
    label = _label(rank, prediction)
    _write_structure(folder, "relaxed", label, prediction, provenance)
    text = json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()}, indent=1)
    write_atomic(folder / f"{provenance.name}_relaxation_{label}.json", text + "\n")


def write_timings(folder: Path, timers: Timers) -> None:
    """Write the seconds of each phase of a job; they sum to the time since the job before it, or since the start."""
    timers.add_rest("other")
    text = json.dumps({name: round(seconds, 3) for name, seconds in timers.seconds.items()}, indent=1)
    write_atomic(folder / "timings.json", text + "\n")


def _label(rank: int, prediction: Prediction) -> str:
    return f"rank_{rank:03d}_{prediction.model}_seed_{prediction.seed:03d}"


def _errors_file(folder: Path, label: str, provenance: Provenance) -> str:
    """Name of the file of a prediction's aligned errors; empty if none was written."""
    names = (f"{provenance.name}_{ERRORS}_{label}.{kind}" for kind in ("json", "npz"))
    return next((name for name in names if (folder / name).is_file()), "")


def _write_structure(folder: Path, kind: str, label: str, prediction: Prediction, provenance: Provenance) -> str:
    """Write mmCIF and PDB; returns why the latter cannot be written, empty if it was."""
    stem, note = f"{provenance.name}_{kind}_{label}", ""
    try:
        text = pdb_text(prediction.structure, remarks(prediction, provenance), provenance.heading)
        write_atomic(folder / f"{stem}.pdb", text)
    except PdbLimitError as error:
        note = str(error)
    errors = "" if prediction.pae is None else _errors_file(folder, label, provenance)
    write_atomic(folder / f"{stem}.cif", modelcif_text(prediction, provenance, errors))
    return note


def _write_prediction(folder: Path, label: str, prediction: Prediction, provenance: Provenance, pae: str) -> str:
    """Write all of a prediction's files; returns why there is no PDB file, empty if there is one."""
    name = provenance.name
    write_atomic(folder / f"{name}_scores_{label}.json", scores_json(prediction, pae == "json"))
    if prediction.pae is not None and pae != "none":
        _write_errors(folder / f"{name}_{ERRORS}_{label}.{pae}", prediction)
    note = _write_structure(folder, "unrelaxed", label, prediction, provenance)  # which names the file of errors
    for one in prediction.passes:
        _write_structure(folder, f"pass_{one.recycles}", label, one, provenance)
    for kind, values in prediction.representations.items():
        with atomic_file(folder / f"{name}_{kind}_repr_{label}.npy") as file:
            np.save(file, values, allow_pickle=False)
    return note


def _write_errors(path: Path, prediction: Prediction) -> None:
    if path.suffix == ".json":
        write_atomic(path, database_json(prediction))
    else:
        with atomic_file(path) as file:
            write_npz(file, prediction)
