"""Run a plan: calls in order, loops over slices that write into memory set aside for their results."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from foldcli.autochunk.dimensions import Adapt, Cut
from foldcli.autochunk.graph import Call, Ref, mapped, tensors
from foldcli.autochunk.plan import Loop, Plan, Whole
from foldcli.autochunk.region_search import ChunkedCall, Region
from foldcli.autochunk.shape_prop import TensorSpec

Parameter = Callable[[str], Tensor]
Operands = Callable[[int], Tensor]


class Executor:
    """A plan made ready to run: which values each step is the last to read."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.program = plan, plan.program
        known: dict[int, Executor] = {}
        self.blocks = {i: known.setdefault(id(block), Executor(block)) for i, block in plan.blocks.items()}

    @cached_property
    def last(self) -> dict[int, int]:
        """The place in the plan after which a value is not read again."""
        graph, place = self.program.shaped.graph, {}
        for number, step in enumerate(self.plan.steps):
            for index in step.calls:
                call = self.program.calls[index]
                place.update(dict.fromkeys([*call.operands, *call.results], number))
        for value in graph.outputs:
            place.pop(value, None)
        return place

    @cached_property
    def freed(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in self.plan.steps]
        for value, number in self.last.items():
            found[number].append(value)
        return found

    def run(self, inputs: list[Tensor], parameter: Parameter) -> dict[int, Tensor]:
        """Values of the outputs. `inputs` is emptied: what the caller does not hold elsewhere is let go when read."""
        graph = self.program.shaped.graph
        values = dict(zip(graph.inputs, inputs, strict=True))
        inputs.clear()
        values.update({value: parameter(name) for value, name in graph.parameters.items()})
        for number, step in enumerate(self.plan.steps):
            if isinstance(step, Loop):
                self._loop(step, number, values)
            else:
                self._whole(step, number, values, parameter)
            for value in self.freed[number]:
                values.pop(value, None)
        return {value: values[value] for value in graph.outputs}

    def _whole(self, step: Whole, number: int, values: dict[int, Tensor], parameter: Parameter) -> None:
        call = self.program.calls[step.index]
        if step.index not in self.blocks:
            values.update(_run(call, values.__getitem__))
            return
        operands = [values[value] for value in call.operands]
        for value in call.operands:
            if self.last.get(value) == number:
                values.pop(value, None)
        prefix, executor = call.function.prefix, self.blocks[step.index]  # type: ignore[attr-defined]
        found = executor.run(operands, lambda name: parameter(prefix + name))
        outputs = executor.program.shaped.graph.outputs
        values.update({value: found[output] for value, output in zip(call.results, outputs, strict=True)})

    def _loop(self, loop: Loop, number: int, values: dict[int, Tensor]) -> None:
        region = loop.region
        self._hoisted(loop, number, values)
        read = {value: values[value] for j in region.body for value in self._call(j).operands if value in values}
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in read.values()):
            values.update(self._checkpointed(loop, read))
            return
        replaced = dict(region.in_place)
        buffers = {
            value: values[replaced[value]] if value in replaced else _buffer(self.program.spec(value))
            for value, _ in region.outputs
        }
        for first in range(0, region.length, loop.steps):
            steps = min(loop.steps, region.length - first)
            part = self._slice(region, first, steps, read)
            for value, cut in region.outputs:
                _narrow(buffers[value], cut, first, steps).copy_(part.pop(value))
        values.update(buffers)

    def _hoisted(self, loop: Loop, number: int, values: dict[int, Tensor]) -> None:
        """Calls that do not vary in the loop, each of which lets go what none after it reads."""
        body = {value for member in loop.region.body for value in self._call(member).operands}
        for place, step in enumerate(loop.hoisted):
            if isinstance(step, Loop):
                self._loop(step, number, values)
            else:
                values.update(_run(self.program.calls[step.index], values.__getitem__))
            for value in self._read(step) - body.union(*map(self._read, loop.hoisted[place + 1 :])):
                if self.last.get(value) == number:
                    values.pop(value, None)

    def _read(self, step: Whole | Loop) -> set[int]:
        return {value for index in step.calls for value in self.program.calls[index].operands}

    def _checkpointed(self, loop: Loop, read: dict[int, Tensor]) -> dict[int, Tensor]:
        """Results of a loop that is to be differentiated: backward computes each slice again, and nothing is written
        into what it may need.
        """
        region = loop.region
        parts = [
            checkpoint(self._slice, region, first, min(loop.steps, region.length - first), read, use_reentrant=False)
            for first in range(0, region.length, loop.steps)
        ]
        return {value: torch.cat([part[value] for part in parts], cut.dim) for value, cut in region.outputs}

    def _slice(self, region: Region, first: int, steps: int, values: dict[int, Tensor]) -> dict[int, Tensor]:
        """One pass of the loop: the slices of its results."""
        part: dict[int, Tensor] = {}
        kept = {value for value, _ in region.outputs}
        last = {v: j.index for j in region.body for v in (*self._call(j).results, *self._call(j).operands)}
        for member in region.body:
            call = self._call(member)
            cuts = iter(member.operand_cuts())

            def operand(value: int, cuts: Iterator[Cut | None] = cuts) -> Tensor:
                cut = next(cuts)
                if value in part:
                    return part[value]
                return _narrow(values[value], cut, first, steps) if cut else values[value]

            part.update(_run(call, operand, member.chunking.adapt, steps * member.factor))
            for value in [value for value in part if value not in kept and last[value] == member.index]:
                del part[value]
        return part

    def _call(self, member: ChunkedCall) -> Call:
        return self.program.calls[member.index]


def _run(call: Call, operands: Operands, adapt: Adapt | None = None, steps: int = 0) -> dict[int, Tensor]:
    """Results of a call by their values; adapt: makes arguments of so many steps."""
    args, kwargs = call.filled(operands)
    if adapt is not None:
        args, kwargs = adapt(args, kwargs, steps)
    return dict(zip(call.results, tensors(call.function(*args, **kwargs)), strict=True))


def _narrow(tensor: Tensor, cut: Cut, first: int, steps: int) -> Tensor:
    return tensor.narrow(cut.dim, first * cut.step, steps * cut.step)


def _buffer(spec: TensorSpec) -> Tensor:
    """Memory for a result, in the order that it would have had; one that repeats itself gets every entry."""
    reach = 1 + sum((size - 1) * stride for size, stride in zip(spec.shape, spec.stride, strict=True))
    numbers = torch.Size(spec.shape).numel()
    if reach == numbers:
        return spec.empty()
    return torch.empty(spec.shape, dtype=spec.dtype, device=spec.device)


def output_of(plan: Plan, values: dict[int, Tensor]) -> Any:
    """What the module returns."""
    return mapped(lambda leaf: values[leaf.value] if isinstance(leaf, Ref) else leaf, plan.program.shaped.graph.output)
