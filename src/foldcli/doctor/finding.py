"""One row of the doctor's table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What was checked and what was found; advice: what to do, if anything; broken: folding cannot work."""

    what: str
    found: str
    advice: str = ""
    broken: bool = False

    @property
    def state(self) -> str:
        return "broken" if self.broken else "note" if self.advice else "ok"
