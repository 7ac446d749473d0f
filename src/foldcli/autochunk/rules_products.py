"""Dimension-flow rules for matrix products, attention and convolutions, which sum over a dimension of two operands."""

from collections.abc import Iterator

from foldcli.autochunk.dimensions import CallSite, Chunking, Operand, rule


@rule("linear")
def linear(site: CallSite) -> Iterator[Chunking]:
    x, weight = site.args[0], site.args[1]
    for dim in range(len(x.shape) - 1):
        yield site.chunking({x: dim}, [dim])
    yield site.chunking({weight: 0, **dict.fromkeys(site.operands[2:], 0)}, [-1])


def _batches(site: CallSite, operands: list[Operand], inner: int) -> Iterator[Chunking]:
    """All dimensions before the last `inner` ones, by the rules of broadcasting."""
    (out,) = site.results
    for dim in range(len(out) - inner):
        cuts: dict[Operand, int] = {}
        for operand in operands:
            own = dim - len(out) + len(operand.shape)
            if own >= 0 and operand.shape[own] == out[dim]:
                cuts[operand] = own
            elif own >= 0 and operand.shape[own] != 1:
                return
        yield site.chunking(cuts, [dim])


@rule("matmul", "bmm", "__matmul__", "mm")
def matmul(site: CallSite) -> Iterator[Chunking]:
    a, b = site.args[0], site.args[1]
    if min(len(a.shape), len(b.shape)) < 2:
        return
    yield from _batches(site, [a, b], 2)
    yield site.chunking({a: -2}, [-2])
    yield site.chunking({b: -1}, [-1])


@rule("einsum")
def einsum(site: CallSite) -> Iterator[Chunking]:
    """Every letter of the result; the dimensions of an ellipsis are named by capital letters, aligned at the last."""
    inputs, into = site.args[0].replace(" ", "").split("->")
    operands = site.args[1:] if isinstance(site.args[1], Operand) else site.args[1]
    rank = len(site.results[0]) - len(into.replace("...", ""))
    spread = [chr(ord("A") + place) for place in range(rank)]

    def letters(term: str, count: int) -> list[str]:
        dots = count - len(term.replace("...", ""))
        before, _, after = term.partition("...")
        return [*before, *(spread[rank - dots :] if "..." in term else []), *after]

    terms = [letters(term, len(x.shape)) for term, x in zip(inputs.split(","), operands, strict=True)]
    for dim, letter in enumerate(letters(into, len(site.results[0]))):
        size = site.results[0][dim]
        having = [(x, term.index(letter)) for x, term in zip(operands, terms, strict=True) if letter in term]
        once = all(term.count(letter) < 2 for term in terms)
        if once and all(x.shape[place] in (1, size) for x, place in having):
            yield site.chunking({x: place for x, place in having if x.shape[place] == size}, [dim])


@rule("scaled_dot_product_attention")
def attention(site: CallSite) -> Iterator[Chunking]:
    q, k, v = site.args[:3]
    mask, causal = site.get(3, "attn_mask"), site.get(5, "is_causal", False)
    if site.get(4, "dropout_p", 0.0) == 0.0:
        yield from _batches(site, [q, k, v, *([mask] if mask else [])], 2)
        if not causal:
            rows = {mask: -2} if mask and mask.shape[-2] != 1 else {}
            yield site.chunking({q: -2, **rows}, [-2])


@rule("cdist")
def cdist(site: CallSite) -> Iterator[Chunking]:
    a, b = site.operands
    yield from _batches(site, [a, b], 2)
    yield site.chunking({a: -2}, [-2])
    yield site.chunking({b: -2}, [-1])


@rule("conv1d", "conv2d", "conv3d")
def convolution(site: CallSite) -> Iterator[Chunking]:
    """Samples and filters; spatial dimensions are not chunked, since an entry needs its neighbours."""
    x, weight = site.args[0], site.args[1]
    if len(x.shape) != len(weight.shape):
        return
    yield site.chunking({x: 0}, [0])
    if site.get(6, "groups", 1) == 1:
        yield site.chunking({weight: 0, **dict.fromkeys(site.operands[2:], 0)}, [1])


@rule("max_pool2d", "avg_pool2d", "interpolate", "upsample_nearest2d", "boolean_dispatch", "adaptive_avg_pool2d", "pad")
def in_space(site: CallSite) -> Iterator[Chunking]:
    """Samples and channels."""
    (x,) = site.operands
    if len(x.shape) == len(site.results[0]) == 4:
        for dim in (0, 1):
            if x.shape[dim] == site.results[0][dim]:
                yield site.chunking({x: dim}, [dim])
