"""Search for alignments, by the server or in local databases, and cache them for later runs."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

from foldcli.cache_folder import cache_folder
from foldcli.config import FoldConfig
from foldcli.data.formats.alignment import join_a3m, parse_alignments
from foldcli.data.formats.complex_a3m import paired_rows
from foldcli.data.formats.text_files import read_text
from foldcli.errors import InputError
from foldcli.files import write_atomic
from foldcli.search.database import Database
from foldcli.search.jackhmmer import Jackhmmer
from foldcli.search.mmseqs import Mmseqs, is_database
from foldcli.search.progress import SearchProgress
from foldcli.search.server import PUBLIC, Server, Unavailable
from foldcli.weights.download import held


class Search(Protocol):
    """A way to find homologs; str() names what it searches."""

    @property
    def methods(self) -> Sequence[str]:
        """The methods to cite, as `report.citations` names them."""
        ...

    @property
    def settings(self) -> str:
        """Everything that determines the result; part of the cache key."""
        ...

    def search(self, sequence: str, progress: SearchProgress) -> str:
        """Find homologs of a sequence, as A3M with the sequence first; FoldcliError if the search fails."""
        ...


class Databases:
    """Local databases, searched one after another; their alignments are joined in this order."""

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

    def search(self, sequence: str, progress: SearchProgress) -> str:
        return join_a3m(sequence, [part.search(sequence, progress) for part in self.parts])


class Finder:
    """Finds alignments, or takes them from the cache if they were found before with the same settings."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.gone: Unavailable | None = None

    @cached_property
    def settings(self) -> str:
        """Everything that determines the result; part of the cache key."""
        return self.search.settings

    def find(self, sequence: str, progress: SearchProgress) -> str:
        """Find the alignment of a sequence in A3M; FoldcliError if the search fails.

        Once a server is unavailable, the rest of a run does not wait for it again.
        """

        def check(text: str, path: Path) -> None:
            if list(parse_alignments(text, path)) != [sequence]:
                raise InputError(f"{path}: is of another sequence")

        return self._cached([self.settings, sequence], check, lambda: self.search.search(sequence, progress))

    def find_pairs(self, sequences: Sequence[str], strategy: str, progress: SearchProgress) -> str:
        """Find rows of several sequences that a server pairs, as `paired_rows` reads them; empty if none pairs them.

        FoldcliError as of `find`.
        """
        server = self.search
        if not isinstance(server, Server):
            return ""
        key = [self.settings, strategy, *sequences]
        search = partial(server.search_pairs, sequences, strategy, progress)
        return self._cached(key, lambda text, path: paired_rows(text, path, sequences), search)

    def _cached(self, key: list[str], check: Callable[[str, Path], object], search: Callable[[], str]) -> str:
        """What was found before, else what a search finds; check: raises InputError for a text that is not whole."""
        if self.gone:
            raise self.gone
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()
        path = cache_folder() / "alignments" / f"{name}.a3m"
        with held(path):  # waits for another run that searches for the same
            with contextlib.suppress(InputError):
                text = read_text(path, separator=True)
                check(text, path)
                return text
            try:
                text = search()
            except Unavailable as error:
                self.gone = error
                raise
            check(text, path)
            write_atomic(path, text)
            return text


def open_finder(config: FoldConfig, threads: int) -> Finder | None:
    """The search that a run's settings ask for, None for none; InputError if a database or program is missing."""
    if not config.searches:
        return None
    if config.msa_mode == "server":
        return Finder(Server(config.host_url or PUBLIC))
    return Finder(Databases(config.db, config.msa_rounds, threads))
