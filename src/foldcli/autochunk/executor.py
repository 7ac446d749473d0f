"""Execution of a plan, in place of code generation.

Single calls run as they are; chunk loops write into preallocated results, chunk by chunk.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from foldcli.autochunk.graph import Ref, mapped
from foldcli.autochunk.loop_bodies import narrow, run_call, run_chunk, run_peel
from foldcli.autochunk.plan import Loop, Plan, Single, Strips
from foldcli.autochunk.region_search import Region
from foldcli.autochunk.tensor_spec import TensorSpec, memory_of

Parameter = Callable[[str], Tensor]


class Executor:
    """Runs a plan and frees each value after the last step that reads it."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.program = plan, plan.program
        known: dict[int, Executor] = {}
        self.blocks = {i: known.setdefault(id(block), Executor(block)) for i, block in plan.blocks.items()}

    @cached_property
    def last_use(self) -> dict[int, int]:
        """The number of the last step that reads a value; outputs have none."""
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
        """The values to free after each step."""
        found: list[list[int]] = [[] for _ in self.plan.steps]
        for value, number in self.last_use.items():
            found[number].append(value)
        return found

    def run(self, inputs: list[Tensor], parameter: Parameter) -> dict[int, Tensor]:
        """The outputs' tensors. Empties `inputs`, so that inputs held nowhere else are freed after their last use."""
        graph = self.program.shaped.graph
        values = dict(zip(graph.inputs, inputs, strict=True))
        inputs.clear()
        donated = [] if torch.is_grad_enabled() else [(v, values[v]) for v in self.program.donated]
        values.update({value: parameter(name) for value, name in graph.parameters.items()})
        for number, step in enumerate(self.plan.steps):
            if isinstance(step, Loop):
                self._loop(step, number, values)
            elif isinstance(step, Strips):
                self._strips(step, values)
            else:
                self._single(step, number, values, parameter)
            for value in self.freed[number]:
                values.pop(value, None)
            donated = [(v, tensor) for v, tensor in donated if v in values or not _released(tensor, values)]
        return {value: values[value] for value in graph.outputs}

    def _single(self, step: Single, number: int, values: dict[int, Tensor], parameter: Parameter) -> None:
        call = self.program.calls[step.index]
        if step.index not in self.blocks:
            values.update(run_call(call, values.__getitem__))
            return
        operands = [values[value] for value in call.operands]
        for value in call.operands:
            if self.last_use.get(value) == number:
                values.pop(value, None)
        prefix, executor = call.function.prefix, self.blocks[step.index]  # type: ignore[attr-defined]
        found = executor.run(operands, lambda name: parameter(prefix + name))
        outputs = executor.program.shaped.graph.outputs
        values.update({value: found[output] for value, output in zip(call.results, outputs, strict=True)})

    def _loop(self, loop: Loop, number: int, values: dict[int, Tensor]) -> None:
        region = loop.region
        self._hoisted(loop, number, values)
        read = {
            value: values[value]
            for j in region.body
            for value in self.program.calls[j.index].operands
            if value in values
        }
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in read.values()):
            values.update(self._checkpointed(region, loop.chunk_size, read))
            return
        replaced = dict(region.in_place)
        buffers = {
            value: values[replaced[value]] if value in replaced else _buffer(self.program.spec(value))
            for value, _ in region.outputs
        }
        for first in range(0, region.length, loop.chunk_size):
            size = min(loop.chunk_size, region.length - first)
            chunk = run_chunk(self.program, region, first, size, read)
            for value, cut in region.outputs:
                narrow(buffers[value], cut, first, size).copy_(chunk.pop(value))
        values.update(buffers)

    def _hoisted(self, loop: Loop, number: int, values: dict[int, Tensor]) -> None:
        """Run the hoisted calls; free operands after their last use."""
        body = {value for member in loop.region.body for value in self.program.calls[member.index].operands}
        for place, step in enumerate(loop.hoisted):
            if isinstance(step, Loop):
                self._loop(step, number, values)
            else:
                values.update(run_call(self.program.calls[step.index], values.__getitem__))
            for value in self._read(step) - body.union(*map(self._read, loop.hoisted[place + 1 :])):
                if self.last_use.get(value) == number:
                    values.pop(value, None)

    def _read(self, step: Single | Loop) -> set[int]:
        return {value for index in step.calls for value in self.program.calls[index].operands}

    def _checkpointed(self, region: Region, size: int, read: dict[int, Tensor]) -> dict[int, Tensor]:
        """The results of a loop under autograd: backward computes each chunk again, and nothing is overwritten."""
        spans = [(i, min(size, region.length - i)) for i in range(0, region.length, size)]
        chunks = [checkpoint(run_chunk, self.program, region, *span, read, use_reentrant=False) for span in spans]
        return {value: torch.cat([chunk[value] for chunk in chunks], cut.dim) for value, cut in region.outputs}

    def _strips(self, step: Strips, values: dict[int, Tensor]) -> None:
        """Run a peeling; under autograd, where nothing may be overwritten, its calls one by one."""
        peel = step.peel
        if torch.is_grad_enabled() and values[peel.source].requires_grad:
            for index in step.calls:
                values.update(run_call(self.program.calls[index], values.__getitem__))
        else:
            run_peel(self.program, step, values)
            values[peel.output] = values[peel.source]


def _released(tensor: Tensor, values: dict[int, Tensor]) -> bool:
    """Free the memory of a donated input that no value uses any more, whoever else still holds the tensor."""
    memory = memory_of(tensor)
    if any(memory_of(value) == memory for value in values.values()):
        return False
    tensor.untyped_storage().resize_(0)
    return True


def _buffer(spec: TensorSpec) -> Tensor:
    """Memory for a loop's result, strided as without the loop; contiguous if those strides overlap or leave gaps."""
    reach = 1 + sum((size - 1) * stride for size, stride in zip(spec.shape, spec.stride, strict=True))
    numbers = torch.Size(spec.shape).numel()
    if reach == numbers:
        return spec.empty()
    return torch.empty(spec.shape, dtype=spec.dtype, device=spec.device)


def output_of(plan: Plan, values: dict[int, Tensor]) -> Any:
    """The module's return value, from its outputs' tensors."""
    return mapped(lambda leaf: values[leaf.value] if isinstance(leaf, Ref) else leaf, plan.program.shaped.graph.output)
