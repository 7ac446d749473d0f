"""From the published parameters of a layer, or of a stack of blocks, to ours.

A published key is `scope//name`. Dense weights are stored [in, out], attention weights [in, heads, dim]; the layers of
a stack are stacked along a first axis. Ours are PyTorch's: dense weights [out, in], one parameter for each layer, and
projections that read the same input packed into one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foldcli.config import StackConfig

Array = NDArray[np.float32]
Shape = tuple[int, ...]

ROOT = "alphafold/alphafold_iteration"
EVOFORMER = f"{ROOT}/evoformer"
TEMPLATE = f"{EVOFORMER}/template_embedding"
FOLD = f"{ROOT}/structure_module/fold_iteration"


@dataclass(frozen=True)
class Rule:
    """Our parameter `target` is `combine(*sources)`, the published arrays, at layer `block` where they are stacked."""

    target: str
    sources: tuple[tuple[str, Shape], ...]  # key and shape of each
    combine: Callable[..., Array]
    block: int | None = None  # None: not in a stack
    blocks: int = 0  # layers of the stack


# The rules of a triangle multiplication, whose parameters are published in two ways.
Multiplication = Callable[[str, str, int, int], Iterator[Rule]]


def matrix(*weights: Array) -> Array:
    """Published weights, each [in, ...], packed along their outputs into one matrix [out, in]."""
    return np.concatenate([w.reshape(len(w), -1) for w in weights], axis=1).T


def vector(*biases: Array) -> Array:
    return np.concatenate([b.reshape(-1) for b in biases])


def output(weight: Array) -> Array:
    """[heads, dim, out] to [out, heads * dim]."""
    return weight.reshape(-1, weight.shape[-1]).T


def same(value: Array) -> Array:
    return value


def linear(target: str, scope: str, c_in: int, c_out: int) -> Iterator[Rule]:
    yield from packed_linear(target, (scope,), c_in, c_out)


def packed_linear(target: str, scopes: tuple[str, ...], c_in: int, c_out: int) -> Iterator[Rule]:
    """Layers that read the same input, packed along their outputs."""
    yield Rule(f"{target}.weight", tuple((f"{scope}//weights", (c_in, c_out)) for scope in scopes), matrix)
    yield Rule(f"{target}.bias", tuple((f"{scope}//bias", (c_out,)) for scope in scopes), vector)


def norm(target: str, scope: str, c: int) -> Iterator[Rule]:
    yield Rule(f"{target}.scale", ((f"{scope}//scale", (c,)),), same)
    yield Rule(f"{target}.offset", ((f"{scope}//offset", (c,)),), same)


def attention(target: str, scope: str, c: int, heads: int) -> Iterator[Rule]:
    split = (c, heads, c // heads)
    packed = tuple((f"{scope}//{name}_w", split) for name in ("query", "key", "value", "gating"))
    yield Rule(f"{target}.packed.weight", packed, matrix)
    yield Rule(f"{target}.gate_bias", ((f"{scope}//gating_b", split[1:]),), vector)
    yield from heads_output(f"{target}.output", scope, (*split[1:], c))


def heads_output(target: str, scope: str, shape: Shape) -> Iterator[Rule]:
    yield Rule(f"{target}.weight", ((f"{scope}//output_w", shape),), output)
    yield Rule(f"{target}.bias", ((f"{scope}//output_b", shape[-1:]),), vector)


def pair_bias(target: str, scope: str, c_z: int, heads: int) -> Iterator[Rule]:
    yield Rule(f"{target}.pair_weight.weight", ((f"{scope}//feat_2d_weights", (c_z, heads)),), matrix)


def transition(target: str, scope: str, c: int, factor: int) -> Iterator[Rule]:
    yield from norm(f"{target}.norm", f"{scope}/input_layer_norm", c)
    yield from linear(f"{target}.expand", f"{scope}/transition1", c, factor * c)
    yield from linear(f"{target}.contract", f"{scope}/transition2", factor * c, c)


def triangle_multiplication(target: str, scope: str, c_z: int, c: int) -> Iterator[Rule]:
    names = ("left_projection", "right_projection", "left_gate", "right_gate")
    yield from norm(f"{target}.norm", f"{scope}/layer_norm_input", c_z)
    yield from packed_linear(f"{target}.operands", tuple(f"{scope}/{name}" for name in names), c_z, c)
    yield from norm(f"{target}.center", f"{scope}/center_layer_norm", c)
    yield from linear(f"{target}.output", f"{scope}/output_projection", c, c_z)
    yield from linear(f"{target}.gate", f"{scope}/gating_linear", c_z, c_z)


def fused_triangle_multiplication(target: str, scope: str, c_z: int, c: int) -> Iterator[Rule]:
    """As AlphaFold-Multimer publishes it: left and right in one array."""
    yield from norm(f"{target}.norm", f"{scope}/left_norm_input", c_z)
    yield from packed_linear(f"{target}.operands", (f"{scope}/projection", f"{scope}/gate"), c_z, 2 * c)
    yield from norm(f"{target}.center", f"{scope}/center_norm", c)
    yield from linear(f"{target}.output", f"{scope}/output_projection", c, c_z)
    yield from linear(f"{target}.gate", f"{scope}/gating_linear", c_z, c_z)


def triangle_attention(target: str, scope: str, c_z: int, heads: int) -> Iterator[Rule]:
    yield from norm(f"{target}.norm", f"{scope}/query_norm", c_z)
    yield from pair_bias(target, scope, c_z, heads)
    yield from attention(f"{target}.attention", f"{scope}/attention", c_z, heads)


def pair_updates(
    target: str, scope: str, c_z: int, heads: int, c_triangle: int, multiplication: Multiplication
) -> Iterator[Rule]:
    for side in ("outgoing", "incoming"):
        yield from multiplication(f"{target}.{side}", f"{scope}/triangle_multiplication_{side}", c_z, c_triangle)
    for side in ("starting", "ending"):
        yield from triangle_attention(f"{target}.{side}", f"{scope}/triangle_attention_{side}_node", c_z, heads)


def outer_product_mean(target: str, scope: str, config: StackConfig, c_z: int) -> Iterator[Rule]:
    c = config.c_outer
    yield from norm(f"{target}.norm", f"{scope}/layer_norm_input", config.c_m)
    yield from linear(f"{target}.left", f"{scope}/left_projection", config.c_m, c)
    yield from linear(f"{target}.right", f"{scope}/right_projection", config.c_m, c)
    yield from heads_output(f"{target}.outer.project", scope, (c, c, c_z))


def global_attention(target: str, scope: str, c: int, heads: int) -> Iterator[Rule]:
    dim, inner = c // heads, f"{scope}/attention"
    yield from norm(f"{target}.norm", f"{scope}/query_norm", c)
    yield Rule(f"{target}.query.weight", ((f"{inner}//query_w", (c, heads, dim)),), matrix)
    shared = tuple((f"{inner}//{name}_w", (c, dim)) for name in ("key", "value"))
    yield Rule(f"{target}.key_value.weight", shared, matrix)
    yield Rule(f"{target}.gate.weight", ((f"{inner}//gating_w", (c, heads, dim)),), matrix)
    yield Rule(f"{target}.gate.bias", ((f"{inner}//gating_b", (heads, dim)),), vector)
    yield from heads_output(f"{target}.output", inner, (heads, dim, c))


def evoformer_block(
    target: str, scope: str, config: StackConfig, c_z: int, global_columns: bool, multiplication: Multiplication
) -> Iterator[Rule]:
    c_m, row = config.c_m, f"{scope}/msa_row_attention_with_pair_bias"
    yield from norm(f"{target}.row.norm", f"{row}/query_norm", c_m)
    yield from norm(f"{target}.row.norm_z", f"{row}/feat_2d_norm", c_z)
    yield from pair_bias(f"{target}.row", row, c_z, config.msa_heads)
    yield from attention(f"{target}.row.attention", f"{row}/attention", c_m, config.msa_heads)
    if global_columns:
        yield from global_attention(f"{target}.column", f"{scope}/msa_column_global_attention", c_m, config.msa_heads)
    else:
        column = f"{scope}/msa_column_attention"
        yield from norm(f"{target}.column.norm", f"{column}/query_norm", c_m)
        yield from attention(f"{target}.column.attention", f"{column}/attention", c_m, config.msa_heads)
    yield from transition(f"{target}.msa_transition", f"{scope}/msa_transition", c_m, config.transition_factor)
    yield from outer_product_mean(f"{target}.outer_product_mean", f"{scope}/outer_product_mean", config, c_z)
    yield from pair_updates(target, scope, c_z, config.pair_heads, config.c_triangle, multiplication)
    yield from transition(f"{target}.pair_transition", f"{scope}/pair_transition", c_z, config.transition_factor)


def stacked(rules: Callable[[str], Iterator[Rule]], target: str, blocks: int) -> Iterator[Rule]:
    """The rules of one block, for every block of a stack."""
    for block in range(blocks):
        for rule in rules(f"{target}.{block}"):
            sources = tuple((key, (blocks, *shape)) for key, shape in rule.sources)
            yield Rule(rule.target, sources, rule.combine, block, blocks)
