"""A plan: which calls run whole and which in loops over slices, with what that takes in memory and time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from foldcli.autochunk.graph import name_of
from foldcli.autochunk.liveness import Program
from foldcli.autochunk.region_search import Region


@dataclass(frozen=True)
class Whole:
    """A call that runs as it is; of a block, by the plan for it."""

    index: int

    @property
    def calls(self) -> range:
        return range(self.index, self.index + 1)


@dataclass(frozen=True)
class Loop:
    """A region that runs in slices of `steps` steps, after the calls that do not vary in it."""

    region: Region
    steps: int
    hoisted: tuple["Whole | Loop", ...]

    @property
    def calls(self) -> range:
        return range(self.region.start, self.region.stop)


@dataclass(frozen=True)
class Plan:
    """How to run a program: steps in order, and plans for the calls that are blocks.

    peak: bytes at most beside parameters and inputs that the caller keeps; extra: seconds more than without loops;
    seconds: all of them, as the cost model has it.
    """

    program: Program
    steps: tuple[Whole | Loop, ...]
    blocks: Mapping[int, "Plan"]
    peak: float
    extra: float
    seconds: float

    def loops(self) -> list[Loop]:
        return [step for step in self.steps if isinstance(step, Loop)]

    def describe(self, name: str = "model") -> Iterator[str]:
        """One line for each loop; blocks that are alike are told once."""
        for loop in self.loops():
            yield f"{name}: {describe_loop(self.program, loop)}"
        told: dict[int, list[int]] = {}
        for index, plan in self.blocks.items():
            told.setdefault(id(plan), []).append(index)
        for indices in told.values():
            first = self.program.calls[indices[0]].function
            several = f"{len(indices)} blocks" if len(indices) > 1 else "block"
            yield from self.blocks[indices[0]].describe(f"{several} {getattr(first, 'prefix', '').rstrip('.')}")


def describe_loop(program: Program, loop: Loop) -> str:
    """A loop in words: its slices, its main calls and what it writes where."""
    region = loop.region
    names = [name_of(program.calls[member.index].function) for member in region.body]
    value, cut = region.outputs[-1]
    count = -(-region.length // loop.steps)
    where = "in place" if region.in_place else "into a new tensor"
    shape = " x ".join(map(str, program.shape(value)))
    return f"{' -> '.join(dict.fromkeys(names))}: {count} slices of axis {cut.dim} of {shape}, written {where}"
