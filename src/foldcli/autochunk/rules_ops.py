"""Dimension-flow rules for foldcli.ops, whose operations are one call each."""

from collections.abc import Iterator

from foldcli.autochunk.dimensions import CallSite, Chunking, rule


@rule("norm_linear", "transition")
def rows(site: CallSite) -> Iterator[Chunking]:
    """Every position is computed alone, from all its channels; a mask has one factor for each."""
    x, mask = site.operands[0], site.get(3, "mask") if site.name == "norm_linear" else None
    for dim in range(len(x.shape) - 1):
        yield site.chunking({x: dim, **({mask: dim} if mask else {})}, [dim] * len(site.results))


@rule("gated_attention")
def gated_attention(site: CallSite) -> Iterator[Chunking]:
    """Query rows, and batch dimensions; the bias is chunked with those that it has."""
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
    """Both residue dimensions of the pairs, and batch dimensions."""
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
    """Pointwise without dropout; with it, the mask is drawn for the whole shape at once, so there is no chunking."""
    if not site.get(3, "rate") or not site.get(5, "training", True):
        for dim in range(len(site.results[0])):
            yield site.chunking({site.args[0]: dim, site.args[1]: dim}, [dim])
