"""Compare our jackhmmer search in process with HMMER's own jackhmmer on real sequences: rows found, and time.

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
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from foldcli.data.formats.alignment import ParsedAlignment, read_alignments
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
    """One query: number of rounds, rows found, whether jackhmmer finds the same, and seconds of both programs."""

    rounds: int
    rows: int
    same: bool
    seconds: float
    jackhmmer_seconds: float


def text(path: Path) -> str:
    """Read a file of a Debian package, gzipped or not."""
    packed = path.with_name(f"{path.name}.gz")
    return gzip.decompress(packed.read_bytes()).decode() if packed.exists() else path.read_text()


def queries() -> list[str]:
    """Human beta globin, and the first examples of medium length with only the 20 amino acids."""
    records = text(EXAMPLES / "QUERY.fasta").split(">")[1:]
    found = ["".join(record.partition("\n")[2].split()) for record in records]
    usual = [s for s in found if SHORTEST < len(s) < LONGEST and set(s) <= set(LETTERS)]
    globin = "".join(text(TUTORIAL / "HBB_HUMAN").split("\n")[1:])
    return [globin, *usual[:QUERIES]]


def kept(rows: ParsedAlignment) -> set[tuple[bytes, bytes]]:
    """The set of an alignment's rows."""
    return {
        (letters.tobytes(), deletions.tobytes())
        for letters, deletions in zip(rows.letters, rows.deletions, strict=True)
    }


def compare(sequence: str, rounds: int, database: Path, threads: int) -> Searched:
    """Search with both programs, with AlphaFold's thresholds."""
    fasta, ours, theirs = (database.with_name(file) for file in ("query.fasta", "ours.a3m", "theirs.sto"))
    fasta.write_text(f">query\n{sequence}\n")
    began = time.perf_counter()
    ours.write_text(Jackhmmer(Database(database), rounds, threads).search(sequence, lambda detail, share=None: None))
    middle = time.perf_counter()
    limits = [f"--F{k}={value}" for k, value in enumerate(FILTERS, 1)]
    command = f"jackhmmer --noali -E {EVALUE} --incE {EVALUE} --cpu {threads} -N {rounds} -o {os.devnull} -A"
    subprocess.run([*command.split(), theirs, *limits, fasta, database], check=True)
    ended = time.perf_counter()
    found, true = (kept(read_alignments(path)[sequence]) for path in (ours, theirs))
    return Searched(rounds, len(found), found == true, middle - began, ended - middle)


def summary(what: str, searches: list[Searched]) -> dict[str, object]:
    """One line of the table, printed and returned."""
    seconds = [one.seconds for one in searches]
    row: dict[str, object] = {
        "what": what, "searches": len(searches), "same": sum(one.same for one in searches),
        "rows": sum(one.rows for one in searches), "seconds": round(sum(seconds), 2), "slowest": round(max(seconds), 2),
        "jackhmmer_seconds": round(sum(one.jackhmmer_seconds for one in searches), 2),
    }  # fmt: skip
    print(json.dumps(row))
    return row


def main() -> None:
    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "db.fasta"
        database.write_text(text(EXAMPLES / "DB.fasta") + text(TUTORIAL / "globins45.fa"))
        count = sum(line.startswith(">") for line in database.read_text().splitlines())
        done = [compare(query, rounds, database, threads) for query in queries() for rounds in (1, 3)]
    help_text = subprocess.run(["jackhmmer", "-h"], capture_output=True, text=True, check=True).stdout
    made = {"date": datetime.date.today().isoformat(), "threads": threads, "sequences": count}
    made |= {"pyhmmer": version("pyhmmer"), "hmmer": re.search(r"HMMER (\S+)", help_text)[1]}
    rows = [summary("HBB_HUMAN, one round", done[:1])]
    rows += [summary(f"all, rounds up to {n}", [one for one in done if one.rounds == n]) for n in (1, 3)]
    write_atomic(RESULTS / f"search-{made['date']}.json", json.dumps(made | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
