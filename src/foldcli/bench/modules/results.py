"""What is known of a module once it was measured."""

from dataclasses import dataclass

from foldcli.bench.host import HostInfo
from foldcli.bench.limits import Limits
from foldcli.bench.request import Request
from foldcli.bench.timing import Times
from foldcli.bench.work import Work


@dataclass(frozen=True)
class Sliced:
    """AutoChunk's prediction: bytes at most whole, and how many times as long a quarter of them takes; that plan.

    slowdown: None where no plan takes so little.
    """

    whole: float
    slowdown: float | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class Pass:
    """Forward or backward: its work, times and bytes at most beside parameters and inputs, if it was measured."""

    work: Work
    times: Times | None = None
    peak: int | None = None


@dataclass(frozen=True)
class Figure:
    """One module, `count` times in a pass of the model; `note` says what was left out and why."""

    module: str
    count: int
    forward: Pass
    backward: Pass | None = None
    sliced: Sliced | None = None
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """A request's figures by length."""

    machine: HostInfo
    request: Request
    limits: Limits
    figures: dict[int, list[Figure]]
