"""Dimension-flow rules for pointwise operators, and for those that mix entries along some dimensions only."""

from collections.abc import Iterator
from typing import Any

from foldcli.autochunk.dimensions import CallSite, Chunking, Cut, Operand, kept_dimensions, rule


@rule(
    "add", "sub", "mul", "div", "true_divide", "pow", "__rsub__", "__rpow__", "__rdiv__", "rsub", "neg", "abs", "exp",
    "log", "sqrt", "rsqrt", "square", "reciprocal", "sigmoid", "tanh", "relu", "gelu", "silu", "mish", "softplus",
    "leaky_relu", "elu", "hardtanh", "relu6", "clamp", "where", "maximum", "minimum", "to", "float", "half", "bfloat16",
    "double", "type_as", "clone", "contiguous", "detach", "masked_fill", "eq", "ne", "lt", "le", "gt", "ge", "__eq__",
    "__ne__", "__and__", "__or__", "__invert__", "logical_not", "zeros_like", "ones_like", "sin", "cos", "lerp",
    "addcmul", "dropout", "nan_to_num", "isfinite", "bitwise_and", "bitwise_or", "logical_and", "logical_or", "int",
    "long", "bool", "floor", "round", "erf", "adjacent",
)  # fmt: skip
def pointwise(site: CallSite) -> Iterator[Chunking]:
    """Every dimension of the result, by the rules of broadcasting."""
    (out,) = site.results
    for dim in range(len(out)):
        cuts: dict[Operand, int] = {}
        for operand in site.operands:
            own = dim - len(out) + len(operand.shape)
            if own < 0 or (operand.shape[own] == 1 and out[dim] != 1):
                continue
            if operand.shape[own] != out[dim]:
                return
            cuts[operand] = own
        yield site.chunking(cuts, [dim])


@rule("sum", "mean", "amax", "amin", "var", "std", "logsumexp", "argmax", "argmin", "norm", "linalg_vector_norm")
def reduction(site: CallSite) -> Iterator[Chunking]:
    (x,), (out,) = site.operands, site.results
    place = 2 if site.name in ("norm", "linalg_vector_norm") else 1
    dims = site.get(place, "dim")
    gone = [dims] if isinstance(dims, int) else list(dims)
    kept = kept_dimensions(x.shape, gone)
    for dim, into in zip(kept, kept if len(out) == len(x.shape) else range(len(out)), strict=True):
        yield site.chunking({x: dim}, [into])


@rule("softmax", "log_softmax", "cumsum", "flip")
def along_dimensions(site: CallSite) -> Iterator[Chunking]:
    (x,) = site.operands
    dims = site.get(1, "dim", site.kwargs.get("dims"))
    for dim in kept_dimensions(x.shape, [dims] if isinstance(dims, int) else dims):
        yield site.chunking({x: dim}, [dim])


@rule("layer_norm")
def layer_norm(site: CallSite) -> Iterator[Chunking]:
    """All but the normalised ones: those of torch's second argument; the last in foldcli.ops."""
    x = site.operands[0]
    shape = site.args[1]
    width = 1 if isinstance(shape[0], Operand) else len(shape)
    for dim in range(len(x.shape) - width):
        yield site.chunking({x: dim}, [dim])


@rule("group_norm")
def group_norm(site: CallSite) -> Iterator[Chunking]:
    """Samples, and whole groups of channels."""
    x, groups = site.args[0], site.args[1]
    yield site.chunking({x: 0}, [0])
    each = x.shape[1] // groups
    cuts = tuple(Cut(1 if operand is x else 0, each) for operand in site.operands)

    def fewer(args: tuple[Any, ...], kwargs: dict[str, Any], chunk_size: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (args[0], chunk_size, *args[2:]), kwargs

    yield Chunking(cuts, (Cut(1, each),), groups, fewer)


@rule("embedding", "bucketize")
def embedding(site: CallSite) -> Iterator[Chunking]:
    index = site.operands[0]
    for dim in range(len(index.shape)):
        yield site.chunking({index: dim}, [dim])


@rule("one_hot")
def one_hot(site: CallSite) -> Iterator[Chunking]:
    if site.get(1, "num_classes", -1) > 0:
        yield from embedding(site)


@rule("gather")
def gather_entries(site: CallSite) -> Iterator[Chunking]:
    x, along, index = site.args
    for dim in kept_dimensions(x.shape, [along]):
        if x.shape[dim] == index.shape[dim]:
            yield site.chunking({x: dim, index: dim}, [dim])


@rule("linalg_cross")
def cross(site: CallSite) -> Iterator[Chunking]:
    a, b = site.operands
    for dim in kept_dimensions(a.shape, [site.get(2, "dim", -1)]):
        if a.shape == b.shape:
            yield site.chunking({a: dim, b: dim}, [dim])
