"""A job's HTML report, and its BibTeX file with the papers to cite."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from foldcli.data.features.merge import shown_alignment
from foldcli.files import write_atomic
from foldcli.folding.job import Job
from foldcli.folding.output import structure_file
from foldcli.folding.predictor import Predictor
from foldcli.protein.structure import Prediction
from foldcli.report.citations import citations
from foldcli.report.page import Contents, report_html
from foldcli.report.provenance import Provenance

REPORT: Final = "report.html"
BIBTEX: Final = "cite.bibtex"


def write_report(
    folder: Path, job: Job, ranked: Sequence[tuple[Prediction, Provenance]], settings: Mapping[str, object],
    methods: Sequence[str], seconds: Mapping[str, float],
) -> None:  # fmt: skip
    """Write a job's report and BibTeX file; its other files, which the report lists, are written already.

    settings, methods: as `settings_of` and `methods_of` tell them; seconds: of each phase of the job.
    """
    papers = citations([*methods, *(["relaxation by OpenMM"] if job.relaxed else [])])
    write_atomic(folder / BIBTEX, "\n".join(paper.bibtex for paper in papers))
    contents = Contents(
        ranked=ranked,
        structures=[structure_file(folder, rank, *one) for rank, one in enumerate(ranked, start=1)],
        tokens=shown_alignment(job.query).tokens,
        files=sorted(path.name for path in folder.iterdir()),
        notes=job.notes,
        settings=settings,
        timings=seconds,
        citations=papers,
    )
    write_atomic(folder / REPORT, report_html(contents))


def methods_of(job: Job, predictor: Predictor) -> Iterator[str]:
    """What the job that the predictor folded last has used, by the names in `report.citations`."""
    if job.query.chain_lengths:
        yield from ("complexes", "confidence of interfaces")
    yield from predictor.alignments.methods(job)
    if job.found.shown:
        yield "templates by HMMER"
    if predictor.group.size > 1:
        yield "one prediction over several devices"
    if predictor.placement.in_chunks:
        yield "chunks that fit into memory (AutoChunk)"


def settings_of(predictor: Predictor) -> dict[str, object]:
    """The settings by their names in conf/, with the device and precision that were chosen."""
    config = asdict(predictor.config) | {"device": predictor.device, "precision": predictor.precision}
    model = config.pop("model")
    settings = config | {f"model.msa.{name}": value for name, value in model["msa"].items()}
    return {name: value for name, value in settings.items() if value not in ("", ())}
