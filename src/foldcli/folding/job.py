"""One protein to fold in a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from foldcli.data.query import Query
from foldcli.folding.record import Record
from foldcli.search.hits import Hit


@dataclass(frozen=True)
class Job:
    """A query, the hash of what it is folded with, and the known chains that it is shown as templates."""

    query: Query
    key: str
    hits: Sequence[Hit] = ()

    @property
    def length(self) -> int:
        return len(self.query.sequence)

    @property
    def depth(self) -> int:
        """Rows of the alignment, 1 for a single sequence."""
        return self.query.alignment.depth if self.query.alignment else 1

    @property
    def input_kind(self) -> str:
        kind = f"alignment of {self.depth} sequences" if self.depth > 1 else "single sequence (no alignment)"
        return f"{kind}, {len(self.hits)} template{'s' * (len(self.hits) > 1)}" if self.hits else kind

    @property
    def templates(self) -> list[str]:
        return [hit.describe(self.length) for hit in self.hits]

    def record(self, status: str, error: str = "") -> Record:
        return Record(self.query.name, status, self.length, self.depth, key=self.key, error=error)
