"""`foldcli fold --msa-only`: alignments of all records as A3M files, to fold from on another machine."""

from collections.abc import Sequence
from pathlib import Path

from foldcli import __version__
from foldcli.config import FoldConfig
from foldcli.data.formats.alignment import a3m_text
from foldcli.data.query import Alignment, Query
from foldcli.errors import FoldcliError, InputError, Interrupted
from foldcli.files import write_atomic
from foldcli.folding.alignments import Alignments
from foldcli.folding.job import Job
from foldcli.folding.progress import Watcher
from foldcli.folding.record import Record
from foldcli.parallel.mesh import RankGroup


def align(queries: Sequence[Query], out: Path, config: FoldConfig, watcher: Watcher) -> list[Record]:
    """Write the alignment of each query, its own or what the search finds, as NAME.a3m, which `fold` takes as input.

    A record each, with the error of a search that failed. InputError: nothing is searched, or the folder cannot be
    written; Interrupted: Ctrl-C, and finished files are kept.
    """
    if not config.searches:
        raise InputError("--msa-only: nothing is searched; name a database with --db, or take --msa-mode server")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); use another folder") from error
    alignments, records = Alignments(config, RankGroup()), list[Record]()
    watcher.run_started(f"foldcli {__version__}, alignments only", len(queries))
    try:
        for job in alignments.ahead((Job(query, "") for query in queries), True, watcher):
            records.append(_written(job, alignments, out))
            watcher.job_ended(records[-1], False)
    except KeyboardInterrupt:
        done = f"{len(records)} of {len(queries)} records are searched, in {out}"
        raise Interrupted(f"interrupted: {done}; the same command goes on with the rest") from None
    finally:
        alignments.close()
    return records


def _written(job: Job, alignments: Alignments, out: Path) -> Record:
    query = job.query
    try:
        if alignments.wanted(query):
            job = alignments.with_alignment(job, RankGroup())
        if query.chain_lengths:
            write_atomic(out / f"{query.name}.a3m", job.a3m)
            return job.record("done")
        rows = (job.a3m or a3m_text(Alignment.of_sequence(query.sequence))).partition("\n")[2]
        write_atomic(out / f"{query.name}.a3m", f">{query.title or query.name}\n{rows}")
    except FoldcliError as error:
        return job.record("failed", str(error))
    return job.record("done")
