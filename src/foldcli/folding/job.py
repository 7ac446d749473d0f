"""One protein to fold in a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from foldcli.data.formats.alignment import a3m_text
from foldcli.data.formats.complex_a3m import complex_a3m_text
from foldcli.data.query import Query
from foldcli.folding.record import Record
from foldcli.search.templates import NO_TEMPLATES, FoundTemplates


@dataclass(frozen=True)
class Job:
    """A query with what was found for it, and the lines that its record shows."""

    query: Query
    key: str  # hash of all that decides the result, by `record.job_key`
    found: FoundTemplates = NO_TEMPLATES
    remarks: Sequence[str] = ()  # lines on the models
    relaxed: Sequence[str] = ()  # a line on each relaxation
    a3m_found: str = ""  # the alignment that a search found, as A3M

    @property
    def length(self) -> int:
        return len(self.query.sequence)

    @property
    def depth(self) -> int:
        """Rows of the alignment, 1 for a single sequence."""
        return self.query.depth

    @property
    def a3m(self) -> str:
        """The alignment as A3M text, empty where there is none."""
        if self.a3m_found:
            return self.a3m_found
        if self.query.msas:
            return complex_a3m_text(self.query)
        return a3m_text(self.query.alignment) if self.query.alignment else ""

    @property
    def input_kind(self) -> str:
        kind = f"alignment of {self.depth} sequences" if self.depth > 1 else "single sequence (no alignment)"
        count = len(self.found.shown)
        return f"{kind}, {count} template{'s' * (count > 1)}" if count else kind

    @property
    def templates(self) -> list[str]:
        return [str(shown) for shown in self.found.shown]

    @property
    def notes(self) -> list[str]:
        """Lines on letters that are not folded as written, on models, on relaxations, and on templates not used."""
        unused = (f"template not used: {reason}" for reason in self.found.unused)
        return [*self.query.notes, *self.remarks, *self.relaxed, *unused]

    def record(self, status: str, error: str = "") -> Record:
        return Record(self.query.name, status, self.length, self.depth, key=self.key, error=error)
