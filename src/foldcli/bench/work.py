"""FLOPs and bytes of a module, counted on fake tensors: the same on every machine."""

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
    """Work of a module: what it takes in any implementation, and what its plain PyTorch bodies take on the CPU.

    In any: flops, floating-point operations of its matrix products; moved, compulsory traffic, the bytes of inputs,
    outputs and parameters once each. Plain: calls, operators that write memory; traffic, bytes that these read and
    write; peak, bytes of memory beside inputs and parameters.
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
    """The work of a forward and of a backward pass; the second's peak is that of both together."""
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
        return gradients(results, gradient_leaves(case, parameters, inputs)) if backward else results

    with mode, ops.backend("reference"), torch.inference_mode(False), torch.set_grad_enabled(backward):
        for leaf in gradient_leaves(case, parameters, inputs) if backward else ():
            leaf.requires_grad_()
        results, found = measure_footprint(run, given)
    moved = tensor_bytes(given) + tensor_bytes(results) + backward * tensor_bytes(given)
    return Work(found.flops, moved, found.calls, found.traffic, found.peak)


def gradient_leaves(case: Case, parameters: Mapping[str, Tensor], inputs: tuple[Any, ...]) -> list[Tensor]:
    """The tensors that gradients are taken of: parameters and the case's differentiable inputs."""
    return [*parameters.values(), *tensors(inputs[: case.differentiable])]


def gradients(results: Any, leaves: list[Tensor], keep: bool = False) -> tuple[Tensor, ...]:
    """Gradients of the sum of all results; keep: retain the graph for another backward pass."""
    ends = [result for result in tensors(results) if result.requires_grad]
    found = torch.autograd.grad(ends, leaves, [torch.ones_like(end) for end in ends], keep, allow_unused=True)
    return tuple(gradient for gradient in found if gradient is not None)


def tensor_bytes(tree: Any) -> int:
    """Bytes of all tensors in nested tuples, lists, dictionaries and dataclasses."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors(tree))
