"""What a module's work is, counted on tensors without memory: the same on every machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli import ops
from foldcli.autochunk.capture import fake_tensors, named_tensors
from foldcli.autochunk.footprint import measure_footprint
from foldcli.autochunk.graph import tensors
from foldcli.bench.cases import Case
from foldcli.shapes import Tensor


@dataclass(frozen=True)
class Work:
    """What a module cannot do without, and what the plain bodies on the CPU make of it.

    flops: operations of its products; moved: bytes of inputs, outputs and parameters, each once; calls: operators that
    write something; traffic: bytes that those read and write; peak: bytes at most beside inputs and parameters.
    """

    flops: int
    moved: int
    calls: int
    traffic: int
    peak: int


def work_of(case: Case) -> Work:
    """The work of a forward pass."""
    return _counted(case, backward=False)


def training_work_of(case: Case) -> tuple[Work, Work]:
    """The work of a forward and of a backward pass; the peak of the second is that of both together."""
    forward, both = _counted(case, backward=False), _counted(case, backward=True)
    return forward, Work(
        both.flops - forward.flops, both.moved - forward.moved, both.calls - forward.calls,
        both.traffic - forward.traffic, both.peak,
    )  # fmt: skip


def _counted(case: Case, backward: bool) -> Work:
    mode, cpu = FakeTensorMode(allow_non_fake_inputs=True), torch.device("cpu")
    parameters, inputs = fake_tensors(named_tensors(case.module), mode, cpu), fake_tensors(case.inputs, mode, cpu)
    given = [*parameters.values(), *tensors(inputs)]

    def run() -> Any:
        results = torch.func.functional_call(case.module, parameters, inputs)
        return gradients(results, leaves_of(case, parameters, inputs)) if backward else results

    with mode, ops.backend("reference"), torch.inference_mode(False), torch.set_grad_enabled(backward):
        for leaf in leaves_of(case, parameters, inputs) if backward else ():
            leaf.requires_grad_()
        results, found = measure_footprint(run, given)
    moved = size(given) + size(results) + backward * size(given)
    return Work(found.flops, moved, found.calls, found.traffic, found.peak)


def leaves_of(case: Case, parameters: Mapping[str, Tensor], inputs: tuple[Any, ...]) -> list[Tensor]:
    """What gradients are asked of."""
    return [*parameters.values(), *tensors(inputs[: case.reads])]


def gradients(results: Any, leaves: list[Tensor], keep: bool = False) -> tuple[Tensor, ...]:
    """Of the sum of all results; keep: the graph, for another turn."""
    ends = [result for result in tensors(results) if result.requires_grad]
    found = torch.autograd.grad(ends, leaves, [torch.ones_like(end) for end in ends], keep, allow_unused=True)
    return tuple(gradient for gradient in found if gradient is not None)


def size(tree: Any) -> int:
    """Bytes of all tensors of a tree."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors(tree))
