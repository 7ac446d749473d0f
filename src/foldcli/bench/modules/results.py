"""Results of measuring modules."""

from dataclasses import dataclass

from foldcli.bench.host import HostInfo
from foldcli.bench.limits import Limits
from foldcli.bench.request import Request
from foldcli.bench.timing import Times
from foldcli.bench.work import Work


@dataclass(frozen=True)
class Sliced:
    """AutoChunk's prediction of a module at a quarter of its memory.

    whole: peak bytes without chunking; slowdown: time of the plan relative to no chunking, None if no plan fits;
    words: the plan in words.
    """

    whole: float
    slowdown: float | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class Pass:
    """A forward or backward pass: work and, if measured, times and peak bytes beside parameters and inputs."""

    work: Work
    times: Times | None = None
    peak: int | None = None


@dataclass(frozen=True)
class Figure:
    """Results of one module, which runs `count` times in a pass of the model; note: what was left out and why."""

    module: str
    count: int
    forward: Pass
    backward: Pass | None = None
    sliced: Sliced | None = None
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """Results of a request, by length in residues."""

    machine: HostInfo
    request: Request
    limits: Limits
    figures: dict[int, list[Figure]]
