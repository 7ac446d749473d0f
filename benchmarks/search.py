"""The search in process against HMMER's own jackhmmer, on real sequences: the same rows, and how long each takes.

On Debian: `apt-get install hmmer hmmer-examples mmseqs2-examples`, then `python benchmarks/search.py`. The database is
MMseqs2's 20,000 examples, of UniProt, and HMMER's 45 globins; the queries are human beta globin and MMseqs2's, in one
round, as AlphaFold searches, and in three. Writes benchmarks/results/search-<date>.json.
"""

import datetime
import gzip
import json
import os
import re
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from foldcli.data.alignment import Rows, read_alignments
from foldcli.files import write_atomic
from foldcli.protein.residues import LETTERS
from foldcli.search.database import Database
from foldcli.search.jackhmmer import EVALUE, FILTERS, Jackhmmer

DOCUMENTS = Path("/usr/share/doc")
EXAMPLES, TUTORIAL = DOCUMENTS / "mmseqs2/example-data", DOCUMENTS / "hmmer/examples/tutorial"
QUERIES, SHORTEST, LONGEST = 60, 40, 350
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Searched:
    """One query in so many rounds: rows found, whether they are jackhmmer's, and seconds of both programs."""

    query: str
    length: int
    rounds: int
    rows: int
    same: bool
    seconds: float
    jackhmmer_seconds: float


def text(path: Path) -> str:
    """A file as Debian lays it down, packed or not."""
    packed = path.with_name(f"{path.name}.gz")
    return gzip.decompress(packed.read_bytes()).decode() if packed.exists() else path.read_text()


def queries() -> dict[str, str]:
    """Human beta globin, and the first examples of middling length with the usual letters alone."""
    records = [record.partition("\n") for record in text(EXAMPLES / "QUERY.fasta").split(">")[1:]]
    found = {title.split()[0]: "".join(body.split()) for title, _, body in records}
    usual = {k: s for k, s in found.items() if SHORTEST < len(s) < LONGEST and set(s) <= set(LETTERS)}
    globin = "".join(text(TUTORIAL / "HBB_HUMAN").split("\n")[1:])
    return {"HBB_HUMAN": globin} | dict(list(usual.items())[:QUERIES])


def kept(rows: Rows) -> set[tuple[bytes, bytes]]:
    """An alignment's rows, in whatever order."""
    return {
        (letters.tobytes(), deletions.tobytes())
        for letters, deletions in zip(rows.letters, rows.deletions, strict=True)
    }


def compare(name: str, sequence: str, rounds: int, database: Path, threads: int) -> Searched:
    """Search with both programs, with AlphaFold's thresholds."""
    fasta, ours, theirs = (database.with_name(file) for file in ("query.fasta", "ours.a3m", "theirs.sto"))
    fasta.write_text(f">query\n{sequence}\n")
    began = time.perf_counter()
    ours.write_text(Jackhmmer(Database(database), rounds, threads).search(sequence, lambda detail, share=None: None))
    middle = time.perf_counter()
    limits = [f"--F{k}={value}" for k, value in enumerate(FILTERS, 1)] + ["-E", str(EVALUE), "--incE", str(EVALUE)]
    command = [
        "jackhmmer",
        "-o",
        os.devnull,
        "-A",
        theirs,
        "--noali",
        *limits,
        "--cpu",
        str(threads),
        "-N",
        str(rounds),
    ]
    subprocess.run([*command, fasta, database], check=True)
    ended = time.perf_counter()
    found, true = (kept(read_alignments(path)[sequence]) for path in (ours, theirs))
    return Searched(name, len(sequence), rounds, len(found), found == true, middle - began, ended - middle)


def main() -> None:
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "db.fasta"
        database.write_text(text(EXAMPLES / "DB.fasta") + text(TUTORIAL / "globins45.fa"))
        count = sum(line.startswith(">") for line in database.read_text().splitlines())
        done = [compare(*query, rounds, database, threads) for query in queries().items() for rounds in (1, 3)]
    help_text = subprocess.run(["jackhmmer", "-h"], capture_output=True, text=True, check=True).stdout
    made = {"date": datetime.date.today().isoformat(), "threads": threads, "sequences": count}
    made |= {"pyhmmer": version("pyhmmer"), "hmmer": re.search(r"HMMER (\S+)", help_text)[1]}
    path = RESULTS / f"search-{made['date']}.json"
    write_atomic(path, json.dumps(made | {"searches": [asdict(one) for one in done]}, indent=1) + "\n")
    for rounds in (1, 3):
        these = [one for one in done if one.rounds == rounds]
        ours, theirs = (sum(getattr(one, who) for one in these) for who in ("seconds", "jackhmmer_seconds"))
        same = f"{sum(one.same for one in these)} of {len(these)} alignments are jackhmmer's"
        print(f"rounds up to {rounds}, {count:,} sequences: {same}; {ours:.1f} s, jackhmmer {theirs:.1f} s")
    print(f"slowest {max(one.seconds for one in done):.2f} s; HBB_HUMAN {done[0].rows} rows in {done[0].seconds:.2f} s")


if __name__ == "__main__":
    main()
