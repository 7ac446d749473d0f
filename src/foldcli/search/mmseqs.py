"""Iterative profile search with MMseqs2 (Steinegger & Söding 2017), if installed, in a MMseqs2 database."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from foldcli.errors import FoldcliError, InputError
from foldcli.search.jackhmmer import EVALUE, MAX_HITS
from foldcli.search.progress import SearchProgress

# ColabFold's settings: three rounds, highest sensitivity.
SEARCH = ("--num-iterations", "3", "-s", "8", "-a", "-e", str(EVALUE), "--max-seqs", str(MAX_HITS))
A3M = "5"
LAST_WORDS = 2000


def is_database(path: Path) -> bool:
    """Whether a path is a database made by `mmseqs createdb`."""
    return path.with_name(f"{path.name}.dbtype").is_file()


class Mmseqs:
    """A MMseqs2 database; InputError if mmseqs is not on the path."""

    methods = ("alignment by MMseqs2",)

    def __init__(self, path: Path, threads: int) -> None:
        self.path, self.threads = path, threads
        if shutil.which("mmseqs") is None:
            raise InputError(f"--db {path}: a database of MMseqs2, but there is no mmseqs on the path; install it")

    def __str__(self) -> str:
        return self.path.name

    @property
    def settings(self) -> str:
        """Everything that determines the result; part of the cache key."""
        index = self.path.with_name(f"{self.path.name}.index")
        try:
            digest = hashlib.sha256(index.read_bytes()).hexdigest()
            return json.dumps(["mmseqs", SEARCH, self.path.stat().st_size, digest])
        except OSError as error:
            raise InputError(f"--db {self.path}: no whole database of MMseqs2 ({error.strerror})") from None

    def search(self, sequence: str, progress: SearchProgress) -> str:
        """Find homologs of a sequence, as A3M with the sequence first; FoldcliError: mmseqs' last words."""
        with tempfile.TemporaryDirectory(prefix="foldcli-") as name:
            folder = Path(name)
            query, hits, rows = (str(folder / file) for file in ("query", "hits", "rows"))
            (folder / "query.fasta").write_text(f">query\n{sequence}\n")
            threads = ("--threads", str(self.threads))
            self._run(progress, "createdb", str(folder / "query.fasta"), query)
            self._run(progress, "search", query, str(self.path), hits, str(folder / "tmp"), *SEARCH, *threads)
            self._run(progress, "result2msa", query, str(self.path), hits, rows, "--msa-format-mode", A3M, *threads)
            return (folder / "rows").read_text(encoding="utf-8", errors="replace").replace("\0", "")

    def _run(self, progress: SearchProgress, *arguments: str) -> None:
        start, log = time.monotonic(), Path(arguments[1]).with_name("log")
        with log.open("wb") as output:
            command = ["mmseqs", *arguments]  # its own process group: it starts others, which must end with it
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                while process.poll() is None:
                    progress(f"mmseqs {arguments[0]}, {time.monotonic() - start:.0f} s")
                    time.sleep(0.1)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode:
            words = log.read_text(errors="replace")[-LAST_WORDS:].split("\n")
            said = next((word.strip() for word in reversed(words) if word.strip()), "no word")
            raise FoldcliError(f"--db {self.path}: mmseqs {arguments[0]} failed: {said}")
