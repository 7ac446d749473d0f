"""A plan: which calls of a program run alone and which in chunk loops, with the memory and time that takes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from foldcli.autochunk.graph import name_of
from foldcli.autochunk.liveness import Program
from foldcli.autochunk.peeling import Peel
from foldcli.autochunk.region_search import Region


@dataclass(frozen=True)
class Single:
    """A call that runs unchunked; if it is a block, by the block's own plan."""

    index: int

    @property
    def calls(self) -> range:
        return range(self.index, self.index + 1)


@dataclass(frozen=True)
class Loop:
    """A chunk region that runs in chunks of `chunk_size` steps; hoisted: what runs once, before the loop."""

    region: Region
    chunk_size: int
    hoisted: tuple["Single | Loop", ...]

    @property
    def calls(self) -> range:
        return range(self.region.start, self.region.stop)


@dataclass(frozen=True)
class Strips:
    """A peeling in strips of so many rows; on_host: what is kept aside waits in host memory."""

    peel: Peel
    rows: int
    on_host: bool = False

    @property
    def calls(self) -> range:
        return range(self.peel.start, self.peel.stop)


Step = Single | Loop | Strips


@dataclass(frozen=True)
class Plan:
    """How to run a program: its steps in order, and plans for the calls that are blocks.

    peak: bytes at once, without parameters and inputs that are not donated; seconds: estimated time; extra: seconds
    more than without loops.
    """

    program: Program
    steps: tuple[Step, ...]
    blocks: Mapping[int, "Plan"]
    peak: float
    extra: float
    seconds: float

    def loops(self) -> list[Loop | Strips]:
        return [step for step in self.steps if not isinstance(step, Single)]

    def describe(self, name: str = "model") -> Iterator[str]:
        """One line for each loop; blocks with the same plan are described once."""
        for loop in self.loops():
            yield f"{name}: {describe_loop(self.program, loop)}"
        same_plan: dict[int, list[int]] = {}
        for index, plan in self.blocks.items():
            same_plan.setdefault(id(plan), []).append(index)
        for indices in same_plan.values():
            first = self.program.calls[indices[0]].function
            several = f"{len(indices)} blocks" if len(indices) > 1 else "block"
            yield from self.blocks[indices[0]].describe(f"{several} {getattr(first, 'prefix', '').rstrip('.')}")


def describe_loop(program: Program, loop: Loop | Strips) -> str:
    """A loop on one line: its calls, its number of chunks, the dimension, and where results are written."""
    if isinstance(loop, Strips):
        names = [name_of(program.calls[index].function) for index in loop.calls]
        count, value = -(-loop.peel.length // loop.rows), loop.peel.output
        how, where = f"{count} strips", "peeled off in place" + ", the rest on the host" * loop.on_host
    else:
        region = loop.region
        names = [name_of(program.calls[member.index].function) for member in region.body]
        count, (value, cut) = -(-region.length // loop.chunk_size), region.outputs[-1]
        how = f"{count} chunks of axis {cut.dim}"
        where = "written in place" if region.in_place else "written into a new tensor"
    shape = " x ".join(map(str, program.shape(value)))
    return f"{' -> '.join(dict.fromkeys(names))}: {how} of {shape}, {where}"
