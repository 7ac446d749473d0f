"""Dimension-flow rules for operators that move, merge, split or repeat dimensions, and that join or index tensors."""

from collections.abc import Iterator
from typing import Any

from foldcli.autochunk.dimensions import CallSite, Chunking, Cut, Operand, kept_dimensions, matched_blocks, rule


def _permuted(site: CallSite, order: list[int]) -> Iterator[Chunking]:
    """order: the operand's dimension behind each dimension of the result."""
    (x,) = site.operands
    for into, dim in enumerate(order):
        yield site.chunking({x: dim}, [into])


@rule("fetch")
def fetch(site: CallSite) -> Iterator[Chunking]:
    """Each slice comes from host memory alone."""
    (x,) = site.operands
    return _permuted(site, list(range(len(x.shape))))


@rule("transpose", "swapaxes")
def transpose(site: CallSite) -> Iterator[Chunking]:
    rank = len(site.operands[0].shape)
    a, b = site.get(1, "dim0") % rank, site.get(2, "dim1") % rank
    return _permuted(site, [b if dim == a else a if dim == b else dim for dim in range(rank)])


@rule("T", "mT", "t")
def matrix_transpose(site: CallSite) -> Iterator[Chunking]:
    rank = len(site.operands[0].shape)
    order = list(range(rank))
    return _permuted(site, [*order[:-2], rank - 1, rank - 2] if rank > 1 else order)


@rule("permute")
def permute(site: CallSite) -> Iterator[Chunking]:
    rank = len(site.operands[0].shape)
    order = site.args[1] if isinstance(site.args[1], tuple | list) else site.args[1:]
    return _permuted(site, [dim % rank for dim in order])


@rule("movedim", "moveaxis")
def movedim(site: CallSite) -> Iterator[Chunking]:
    rank = len(site.operands[0].shape)
    source, target = site.args[1], site.args[2]
    if isinstance(source, int):
        rest = [dim for dim in range(rank) if dim != source % rank]
        rest.insert(target % rank, source % rank)
        yield from _permuted(site, rest)


@rule("unsqueeze", "squeeze", "flatten", "unflatten", "reshape", "view", "_unsafe_view", "ravel")
def reshape(site: CallSite) -> Iterator[Chunking]:
    """Pairs as `matched_blocks` finds them; sizes among the arguments become those of the chunk."""
    (x,), (out,) = site.operands, site.results
    for dim, step, into, step_out in matched_blocks(x.shape, out):
        if site.name in ("reshape", "view", "unflatten", "_unsafe_view"):
            adapt = _resize(site, out, into, step_out)
        else:
            adapt = None
        yield Chunking((Cut(dim, step),), (Cut(into, step_out),), out[into] // step_out, adapt)


def _resize(site: CallSite, out: tuple[int, ...], into: int, step: int) -> Any:
    """The `Adapt` that gives a reshape the sizes of the chunk."""

    def shape(chunk_size: int) -> tuple[int, ...]:
        return *out[:into], step * chunk_size, *out[into + 1 :]

    def sized(args: tuple[Any, ...], kwargs: dict[str, Any], chunk_size: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if site.name == "unflatten":
            first = site.get(1, "dim") % len(site.operands[0].shape)
            count = len(site.get(2, "sizes"))
            return (args[0], first, shape(chunk_size)[first : first + count]), {}
        return (args[0], shape(chunk_size)), {}

    return sized


@rule("expand", "expand_as", "new_zeros", "new_ones")
def expand(site: CallSite) -> Iterator[Chunking]:
    """Every dimension of the result; those that the operand is repeated along are only made shorter."""
    x, (out,) = site.operands[0], site.results
    for dim in range(len(out)):
        own = dim - len(out) + len(x.shape)
        spread = site.name.startswith("new") or own < 0 or x.shape[own] != out[dim]
        cuts: dict[Operand, int] = {} if spread else {x: own}
        if site.name == "expand_as":
            yield site.chunking({**cuts, site.operands[1]: dim}, [dim])
        else:
            yield site.chunking(cuts, [dim], _shorten(out, dim))


def _shorten(out: tuple[int, ...], dim: int) -> Any:
    def sized(args: tuple[Any, ...], kwargs: dict[str, Any], chunk_size: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (args[0], (*out[:dim], chunk_size, *out[dim + 1 :])), kwargs

    return sized


@rule("chunk", "split", "unbind", "tensor_split", "split_with_sizes")
def split(site: CallSite) -> Iterator[Chunking]:
    (x,) = site.operands
    along = site.get(1, "dim", 0) if site.name == "unbind" else site.get(2, "dim", 0)
    for dim in kept_dimensions(x.shape, [along]):
        into = dim - (site.name == "unbind" and dim > along % len(x.shape))
        yield site.chunking({x: dim}, [into] * len(site.results))


@rule("cat", "concat")
def cat(site: CallSite) -> Iterator[Chunking]:
    rank = len(site.results[0])
    for dim in kept_dimensions(site.results[0], [site.get(1, "dim", 0)]):
        if all(len(operand.shape) == rank for operand in site.operands):
            yield site.chunking(dict.fromkeys(site.operands, dim), [dim])


@rule("stack")
def stack(site: CallSite) -> Iterator[Chunking]:
    along = site.get(1, "dim", 0) % len(site.results[0])
    for dim in range(len(site.operands[0].shape)):
        yield site.chunking(dict.fromkeys(site.operands, dim), [dim + (dim >= along)])


@rule("select", "narrow")
def select(site: CallSite) -> Iterator[Chunking]:
    (x,) = site.operands
    along = site.get(1, "dim") % len(x.shape)
    for dim in kept_dimensions(x.shape, [along]):
        yield site.chunking({x: dim}, [dim - (site.name == "select" and dim > along)])


@rule("__getitem__")
def getitem(site: CallSite) -> Iterator[Chunking]:
    """Dimensions indexed by a bare `:` or the ellipsis; the index may have integers, slices, None and one ellipsis."""
    (x,) = site.operands
    index = site.args[1] if isinstance(site.args[1], tuple) else (site.args[1],)
    if not all(item is None or item is Ellipsis or type(item) in (int, slice) for item in index):
        return
    used = sum(item is not None and item is not Ellipsis for item in index)
    whole = [slice(None)] * (len(x.shape) - used)
    at = next((place for place, item in enumerate(index) if item is Ellipsis), len(index))
    dim = into = 0
    for item in [*index[:at], *whole, *index[at + 1 :]]:
        if item == slice(None):
            yield site.chunking({x: dim}, [into])
        dim += item is not None
        into += not isinstance(item, int)
