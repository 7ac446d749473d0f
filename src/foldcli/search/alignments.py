"""Where alignments are searched for, and the cache of those that were found, which runs share."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from foldcli.cache_folder import cache_folder
from foldcli.config import FoldConfig
from foldcli.data.formats.alignment import parse_alignments, read_alignments, stacked
from foldcli.errors import InputError
from foldcli.files import write_atomic
from foldcli.search.database import Database
from foldcli.search.jackhmmer import Jackhmmer
from foldcli.search.mmseqs import Mmseqs, is_database
from foldcli.search.progress import SearchProgress
from foldcli.search.server import PUBLIC, Server, Unavailable
from foldcli.weights.download import held


class Search(Protocol):
    """A way to find relatives; its name is what it searches."""

    @property
    def methods(self) -> Sequence[str]:
        """What papers are cited for, as `report.citations` names it."""
        ...

    @property
    def settings(self) -> str:
        """All that decides what is found."""
        ...

    def search(self, sequence: str, report: SearchProgress) -> str:
        """The relatives of a sequence in A3M, itself first; FoldcliError if it cannot be done."""
        ...


class Databases:
    """Databases of this machine, searched one after another; what comes of the first stands above."""

    def __init__(self, paths: Sequence[str], rounds: int, threads: int) -> None:
        self.parts: list[Jackhmmer | Mmseqs] = [
            Mmseqs(path, threads) if is_database(path) else Jackhmmer(Database(path), rounds, threads)
            for path in map(Path, paths)
        ]

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))

    @property
    def methods(self) -> Sequence[str]:
        return [method for part in self.parts for method in part.methods]

    @property
    def settings(self) -> str:
        return json.dumps([part.settings for part in self.parts])

    def search(self, sequence: str, report: SearchProgress) -> str:
        return stacked(sequence, [part.search(sequence, report) for part in self.parts])


class Finder:
    """Finds alignments, each once: what was found before with the same settings is taken from the cache."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.gone: Unavailable | None = None

    @cached_property
    def settings(self) -> str:
        """All that decides what is found."""
        return self.search.settings

    def find(self, sequence: str, report: SearchProgress) -> str:
        """The alignment of a sequence in A3M; FoldcliError if it cannot be found.

        Once a server takes no work, the rest of a run does not wait for it again.
        """
        if self.gone:
            raise self.gone
        name = hashlib.sha256(json.dumps([self.settings, sequence]).encode()).hexdigest()
        path = cache_folder() / "alignments" / f"{name}.a3m"
        with held(path):  # another run that searches for the same is waited for
            if _holds(path, sequence):
                return path.read_text(encoding="utf-8")
            try:
                text = self.search.search(sequence, report)
            except Unavailable as error:
                self.gone = error
                raise
            parse_alignments(text, path)
            write_atomic(path, text)
            return text


def _holds(path: Path, sequence: str) -> bool:
    """Whether a file of the cache is whole."""
    try:
        return list(read_alignments(path)) == [sequence]
    except InputError:
        return False


def open_finder(config: FoldConfig, threads: int) -> Finder | None:
    """What a run's settings ask for, None where no alignment is to be searched; InputError if it cannot be had."""
    if not config.searches:
        return None
    if config.msa_mode == "server":
        return Finder(Server(config.host_url or PUBLIC))
    return Finder(Databases(config.db, config.msa_rounds, threads))
