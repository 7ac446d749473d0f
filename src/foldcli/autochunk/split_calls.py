"""Split calls before scheduling, so that each part runs when its result is needed."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from foldcli import ops
from foldcli.autochunk.graph import Call, Graph, Ref, name_of
from foldcli.autochunk.tensor_spec import TensorSpec


def triangle_operand(z: Tensor, norm: Any, projection: Any, side: int, mask: Tensor) -> Tensor:
    """One of the two operands of `ops.triangle_operands`: left (side 0) or right (1)."""
    weight, bias = projection
    width = weight.shape[0] // 4
    own = [slice(side * width, (side + 1) * width), slice((side + 2) * width, (side + 3) * width)]
    part = torch.cat([weight[rows] for rows in own]), None if bias is None else torch.cat([bias[rows] for rows in own])
    return torch.cat(ops.triangle_operands(z, norm, part, mask), dim=-3)


def adjacent(x: Tensor, dim: int) -> Tensor:
    """A copy of x with stride 1 along `dim`."""
    return x.movedim(dim, -1).contiguous().movedim(-1, dim)


def _each_projection(call: Call) -> list[Call]:
    x, norm, projections, *mask = call.args
    return [
        replace(call, args=(x, norm, [projection], *mask), results=(result,))
        for projection, result in zip(projections, call.results, strict=True)
    ]


def _each_operand(call: Call) -> list[Call]:
    z, norm, projection, mask = call.args
    return [
        replace(call, function=triangle_operand, args=(z, norm, projection, side, mask), results=(result,))
        for side, result in enumerate(call.results)
    ]


def split_calls(graph: Graph, values: Mapping[int, TensorSpec]) -> tuple[Graph, Mapping[int, TensorSpec]]:
    """The graph with calls split where that saves memory, and its values' metadata."""
    known, calls = dict(values), list[Call]()
    fresh = itertools.count(graph.next_value)
    for call in graph.calls:
        name = name_of(call.function)
        if name in PARTS and len(call.results) > 1:
            calls += PARTS[name](call)
        elif name == "outer_product_mean" and values[call.results[0]].device.type == "cpu":
            calls += _laid_out(call, known, fresh)
        else:
            calls.append(call)
    return replace(graph, calls=tuple(calls)), known


# Calls with several results, split into one call a result: shared work is repeated, but each result can be made late.
PARTS: dict[str, Callable[[Call], list[Call]]] = {
    "norm_linear": _each_projection, "triangle_operands": _each_operand
}  # fmt: skip


def _laid_out(call: Call, known: dict[int, TensorSpec], fresh: Iterator[int]) -> list[Call]:
    """An outer product on the CPU, with the copies of its operands in the layout of its product as calls of their own.

    In a loop they are made once, not in every chunk.
    """
    left, right, *others = call.args
    calls, laid = [], []
    for operand, dim in ((left, -3), (right, -2)):
        number, spec = next(fresh), known[operand.value]
        stride = adjacent(spec.empty(), dim).stride()
        known[number] = replace(spec, stride=stride, storage=number, storage_bytes=spec.nbytes, offset=0)
        calls.append(Call(adjacent, (operand, dim), {}, (number,)))
        laid.append(Ref(number))
    return [*calls, replace(call, args=(*laid, *others))]
