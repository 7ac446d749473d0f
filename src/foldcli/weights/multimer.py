"""The published parameters of AlphaFold-Multimer's own layers (Evans et al. 2021), and which of ours each becomes."""

from collections.abc import Iterator

import numpy as np

from foldcli.config import StructureConfig, TemplateConfig
from foldcli.model.template import BINS, CLASSES
from foldcli.weights.layer_rules import (
    EVOFORMER,
    FOLD,
    TEMPLATE,
    Array,
    Rule,
    fused_triangle_multiplication,
    linear,
    matrix,
    norm,
    pair_updates,
    same,
    stacked,
    transition,
)

RELATIVE = f"{EVOFORMER}/~_relative_encoding/position_activations"
UPDATE = f"{FOLD}/quat_rigid/rigid"
SINGLE = f"{TEMPLATE}/single_template_embedding"
STACK = f"{SINGLE}/template_embedding_iteration"
# Input features of a template's pair that are published one by one, by number; those of one channel have vectors.
DISTANCES, BETA, COLUMN_TYPE, ROW_TYPE, X, Y, Z, BACKBONE, PAIRS = range(9)


def rows(*weights: Array) -> Array:
    """Weights [in, out], or [out] of one input, packed along their inputs into one matrix [out, in]."""
    return np.concatenate([w.reshape(-1, w.shape[-1]) for w in weights]).T


def total(*biases: Array) -> Array:
    return np.sum(biases, axis=0)


def by_head(*weights: Array) -> Array:
    """Weights [in, heads, dim], packed within each head, into one matrix [out, in]."""
    return matrix(np.concatenate(weights, axis=-1))


def by_axis(*points: Array) -> Array:
    """Weights [in, heads, 3 points], or biases without `in`, packed within each head; all x come first, then y, z."""
    packed = np.concatenate([p.reshape(*p.shape[:-1], 3, -1) for p in points], axis=-1)
    return np.moveaxis(packed, -2, -3).reshape(*packed.shape[:-3], -1).T


def template_pairs(config: TemplateConfig, c_z: int) -> Iterator[Rule]:
    ours, c_t = "trunk.template_pairs", config.c_t

    def scope(number: int) -> str:
        return f"{SINGLE}/template_pair_embedding_{number}"

    def weight(number: int, *c_in: int) -> tuple[str, tuple[int, ...]]:
        return f"{scope(number)}//weights", (*c_in, c_t)

    geometry = weight(DISTANCES, BINS), *(weight(number) for number in (BETA, X, Y, Z, BACKBONE))
    yield Rule(f"{ours}.geometry.weight", geometry, rows)
    yield Rule(f"{ours}.row_types.weight", (weight(ROW_TYPE, CLASSES),), rows)
    yield Rule(f"{ours}.column_types.weight", (weight(COLUMN_TYPE, CLASSES),), rows)
    yield Rule(f"{ours}.pairs.weight", (weight(PAIRS, c_z),), rows)
    yield Rule(f"{ours}.pairs.bias", tuple((f"{scope(number)}//bias", (c_t,)) for number in range(9)), total)
    yield from norm(f"{ours}.norm_z", f"{SINGLE}/query_embedding_norm", c_z)
    yield from stacked(lambda target: template_block(target, config), f"{ours}.blocks", config.blocks)
    yield from norm(f"{ours}.norm", f"{SINGLE}/output_layer_norm", c_t)
    yield from linear(f"{ours}.output", f"{TEMPLATE}/output_linear", c_t, c_z)


def template_block(target: str, config: TemplateConfig) -> Iterator[Rule]:
    c_t = config.c_t
    yield from pair_updates(target, STACK, c_t, config.heads, config.c_triangle, fused_triangle_multiplication)
    yield from transition(f"{target}.transition", f"{STACK}/pair_transition", c_t, config.transition_factor)


def invariant_point_attention(target: str, scope: str, config: StructureConfig, c_s: int, c_z: int) -> Iterator[Rule]:
    h = config.heads
    queries, keys, values = (
        (f"{scope}/{name}_scalar_projection//weights", (c_s, h, dim))
        for name, dim in (("q", config.scalar_qk), ("k", config.scalar_qk), ("v", config.scalar_v))
    )
    yield Rule(f"{target}.query.weight", (queries,), by_head)
    yield Rule(f"{target}.key_value.weight", (keys, values), by_head)
    for parameter, shape in (("weight", (c_s, h)), ("bias", (h,))):
        leaf = {"weight": "weights", "bias": "bias"}[parameter]
        queries, keys, values = (
            (f"{scope}/{name}_point_projection/point_projection//{leaf}", (*shape, 3 * points))
            for name, points in (("q", config.point_qk), ("k", config.point_qk), ("v", config.point_v))
        )
        yield Rule(f"{target}.query_points.{parameter}", (queries,), by_axis)
        yield Rule(f"{target}.key_value_points.{parameter}", (keys, values), by_axis)
    yield from linear(f"{target}.bias", f"{scope}/attention_2d", c_z, h)
    yield Rule(f"{target}.point_weight", ((f"{scope}//trainable_point_weights", (h,)),), same)
    features = h * (config.scalar_v + 4 * config.point_v + c_z)
    yield from linear(f"{target}.output", f"{scope}/output_projection", features, c_s)
