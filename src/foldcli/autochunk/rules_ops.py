"""Rules for foldcli.ops, whose operations are one call each, and the parts that some of them come apart into."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from foldcli import ops
from foldcli.autochunk.dimensions import CallSite, Chunking, rule
from foldcli.autochunk.graph import Call, Graph, Ref, name_of
from foldcli.autochunk.shape_prop import TensorSpec


@rule("norm_linear", "transition")
def rows(site: CallSite) -> Iterator[Chunking]:
    """Every position alone."""
    x = site.operands[0]
    for dim in range(len(x.shape) - 1):
        yield site.chunking({x: dim}, [dim] * len(site.results))


@rule("gated_attention")
def gated_attention(site: CallSite) -> Iterator[Chunking]:
    """Rows apart; batch axes too, in which the bias takes part."""
    packed, mask, bias = site.args[0], site.args[3], site.get(4, "bias")
    rank = len(packed.shape)
    for dim in range(rank - 3):
        if bias is None or len(bias.shape) == rank:
            yield site.chunking({packed: dim, mask: dim, **({bias: dim} if bias else {})}, [dim])
    yield site.chunking({packed: -3, mask: -2}, [-3])


@rule("global_attention")
def global_attention(site: CallSite) -> Iterator[Chunking]:
    q, k, v, mask = site.operands
    for back in range(3, len(q.shape) + 1):
        yield site.chunking({q: -back, k: -back, v: -back, mask: 1 - back}, [-back])


@rule("triangle_operands", "triangle_operand")
def triangle_operands(site: CallSite) -> Iterator[Chunking]:
    """Both residues of a pair, and batch axes."""
    z, mask = site.operands[0], site.operands[-1]
    rank = len(z.shape)
    for dim in range(rank - 1):
        into = dim if dim < rank - 3 else dim + 1
        yield site.chunking({z: dim, mask: dim}, [into] * len(site.results))


@rule("triangle_update")
def triangle_update(site: CallSite) -> Iterator[Chunking]:
    product, z = site.args[0], site.args[1]
    rank = len(z.shape)
    for dim in range(rank - 1):
        yield site.chunking({product: dim if dim < rank - 3 else dim + 1, z: dim}, [dim])


@rule("outer_product_mean")
def outer_product_mean(site: CallSite) -> Iterator[Chunking]:
    left, right, count = site.operands[0], site.operands[1], site.operands[-1]
    for dim in range(len(left.shape) - 3):
        yield site.chunking({left: dim, right: dim, count: dim}, [dim])
    yield site.chunking({left: -2, count: -2}, [-3])
    yield site.chunking({right: -2, count: -1}, [-2])


@rule("dropout_add")
def dropout_add(site: CallSite) -> Iterator[Chunking]:
    """Without a rate it is a sum; with one, its mask is drawn for the whole shape."""
    if not site.get(3, "rate") or not site.get(5, "training", True):
        for dim in range(len(site.results[0])):
            yield site.chunking({site.args[0]: dim, site.args[1]: dim}, [dim])


def triangle_operand(z: Tensor, norm: Any, projection: Any, side: int, mask: Tensor) -> Tensor:
    """One of the two operands of `ops.triangle_operands`: left (side 0) or right (1)."""
    weight, bias = projection
    width = weight.shape[0] // 4
    own = [slice(side * width, (side + 1) * width), slice((side + 2) * width, (side + 3) * width)]
    part = torch.cat([weight[rows] for rows in own]), None if bias is None else torch.cat([bias[rows] for rows in own])
    return torch.cat(ops.triangle_operands(z, norm, part, mask), dim=-3)


def adjacent(x: Tensor, dim: int) -> Tensor:
    """The same numbers, those along `dim` side by side in memory."""
    return x.movedim(dim, -1).contiguous().movedim(-1, dim)


def _each_projection(call: Call) -> list[Call]:
    x, norm, projections = call.args
    return [
        replace(call, args=(x, norm, [projection]), results=(result,))
        for projection, result in zip(projections, call.results, strict=True)
    ]


def _each_operand(call: Call) -> list[Call]:
    z, norm, projection, mask = call.args
    return [
        replace(call, function=triangle_operand, args=(z, norm, projection, side, mask), results=(result,))
        for side, result in enumerate(call.results)
    ]


def split_calls(graph: Graph, values: Mapping[int, TensorSpec]) -> tuple[Graph, Mapping[int, TensorSpec]]:
    """The same graph with one call for each result that can be had alone, and what the values are."""
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


# Calls with several results, into calls with one each: what they share is done again, but each is done in its place.
PARTS: dict[str, Callable[[Call], list[Call]]] = {
    "norm_linear": _each_projection, "triangle_operands": _each_operand
}  # fmt: skip


def _laid_out(call: Call, known: dict[int, TensorSpec], fresh: Iterator[int]) -> list[Call]:
    """An outer product whose operands are put in the order of its product before, not in each slice again."""
    left, right, *others = call.args
    calls, laid = [], []
    for operand, dim in ((left, -3), (right, -2)):
        number, spec = next(fresh), known[operand.value]
        stride = adjacent(spec.empty(), dim).stride()
        known[number] = replace(spec, stride=stride, storage=number, bytes=spec.nbytes)
        calls.append(Call(adjacent, (operand, dim), {}, (number,)))
        laid.append(Ref(number))
    return [*calls, replace(call, args=(*laid, *others))]
