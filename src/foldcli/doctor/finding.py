"""One line of what the doctor says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What was looked at and what is there; advice where something is missing; broken: folding cannot work."""

    what: str
    found: str
    advice: str = ""
    broken: bool = False

    @property
    def state(self) -> str:
        return "broken" if self.broken else "note" if self.advice else "ok"
