"""AlphaFold's published parameters: their names and shapes, and which of ours each becomes.

A published key is `scope//name`. Dense weights are stored [in, out], attention weights [in, heads, dim]; the layers of
a stack are stacked along a first axis. Ours are PyTorch's: dense weights [out, in], one parameter for each layer, and
projections that read the same input packed into one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from foldcli.config import ModelConfig, StackConfig, StructureConfig, TemplateConfig
from foldcli.errors import WeightsError
from foldcli.model.embedders import C_MSA, C_TARGET, EXTRA_CLASSES, RecyclingEmbedder
from foldcli.model.heads import MSA_CLASSES
from foldcli.model.template import C_PAIR_FEATURES, C_TORSION_FEATURES
from foldcli.protein.residues import ATOM37

Array = NDArray[np.float32]
Shape = tuple[int, ...]

ROOT = "alphafold/alphafold_iteration"
EVOFORMER = f"{ROOT}/evoformer"
TEMPLATE = f"{EVOFORMER}/template_embedding"
TEMPLATE_STACK = f"{TEMPLATE}/single_template_embedding/template_pair_stack/__layer_stack_no_state"
FOLD = f"{ROOT}/structure_module/fold_iteration"


@dataclass(frozen=True)
class Rule:
    """Our parameter `target` is `combine(*sources)`, the published arrays, at layer `block` where they are stacked."""

    target: str
    sources: tuple[tuple[str, Shape], ...]  # key and shape of each
    combine: Callable[..., Array]
    block: int | None = None  # None: not in a stack
    blocks: int = 0  # layers of the stack


def _matrix(*weights: Array) -> Array:
    """Published weights, each [in, ...], packed along their outputs into one matrix [out, in]."""
    return np.concatenate([w.reshape(len(w), -1) for w in weights], axis=1).T


def _vector(*biases: Array) -> Array:
    return np.concatenate([b.reshape(-1) for b in biases])


def _output(weight: Array) -> Array:
    """[heads, dim, out] to [out, heads * dim]."""
    return weight.reshape(-1, weight.shape[-1]).T


def _same(value: Array) -> Array:
    return value


def linear(target: str, scope: str, c_in: int, c_out: int) -> Iterator[Rule]:
    yield Rule(f"{target}.weight", ((f"{scope}//weights", (c_in, c_out)),), _matrix)
    yield Rule(f"{target}.bias", ((f"{scope}//bias", (c_out,)),), _vector)


def norm(target: str, scope: str, c: int) -> Iterator[Rule]:
    yield Rule(f"{target}.scale", ((f"{scope}//scale", (c,)),), _same)
    yield Rule(f"{target}.offset", ((f"{scope}//offset", (c,)),), _same)


def attention(target: str, scope: str, c: int, heads: int) -> Iterator[Rule]:
    split = (c, heads, c // heads)
    packed = tuple((f"{scope}//{name}_w", split) for name in ("query", "key", "value", "gating"))
    yield Rule(f"{target}.packed.weight", packed, _matrix)
    yield Rule(f"{target}.gate_bias", ((f"{scope}//gating_b", split[1:]),), _vector)
    yield from _heads_output(f"{target}.output", scope, (*split[1:], c))


def _heads_output(target: str, scope: str, shape: Shape) -> Iterator[Rule]:
    yield Rule(f"{target}.weight", ((f"{scope}//output_w", shape),), _output)
    yield Rule(f"{target}.bias", ((f"{scope}//output_b", shape[-1:]),), _vector)


def pair_bias(target: str, scope: str, c_z: int, heads: int) -> Iterator[Rule]:
    yield Rule(f"{target}.pair_weight.weight", ((f"{scope}//feat_2d_weights", (c_z, heads)),), _matrix)


def transition(target: str, scope: str, c: int, factor: int) -> Iterator[Rule]:
    yield from norm(f"{target}.norm", f"{scope}/input_layer_norm", c)
    yield from linear(f"{target}.expand", f"{scope}/transition1", c, factor * c)
    yield from linear(f"{target}.contract", f"{scope}/transition2", factor * c, c)


def triangle_multiplication(target: str, scope: str, c_z: int, c: int) -> Iterator[Rule]:
    names = ("left_projection", "right_projection", "left_gate", "right_gate")
    yield from norm(f"{target}.norm", f"{scope}/layer_norm_input", c_z)
    yield Rule(f"{target}.operands.weight", tuple((f"{scope}/{n}//weights", (c_z, c)) for n in names), _matrix)
    yield Rule(f"{target}.operands.bias", tuple((f"{scope}/{n}//bias", (c,)) for n in names), _vector)
    yield from norm(f"{target}.center", f"{scope}/center_layer_norm", c)
    yield from linear(f"{target}.output", f"{scope}/output_projection", c, c_z)
    yield from linear(f"{target}.gate", f"{scope}/gating_linear", c_z, c_z)


def triangle_attention(target: str, scope: str, c_z: int, heads: int) -> Iterator[Rule]:
    yield from norm(f"{target}.norm", f"{scope}/query_norm", c_z)
    yield from pair_bias(target, scope, c_z, heads)
    yield from attention(f"{target}.attention", f"{scope}/attention", c_z, heads)


def pair_updates(target: str, scope: str, c_z: int, heads: int, c_triangle: int) -> Iterator[Rule]:
    for side in ("outgoing", "incoming"):
        theirs = f"{scope}/triangle_multiplication_{side}"
        yield from triangle_multiplication(f"{target}.{side}", theirs, c_z, c_triangle)
    for side in ("starting", "ending"):
        yield from triangle_attention(f"{target}.{side}", f"{scope}/triangle_attention_{side}_node", c_z, heads)


def outer_product_mean(target: str, scope: str, config: StackConfig, c_z: int) -> Iterator[Rule]:
    c = config.c_outer
    yield from norm(f"{target}.norm", f"{scope}/layer_norm_input", config.c_m)
    yield from linear(f"{target}.left", f"{scope}/left_projection", config.c_m, c)
    yield from linear(f"{target}.right", f"{scope}/right_projection", config.c_m, c)
    yield from _heads_output(f"{target}.outer.project", scope, (c, c, c_z))


def global_attention(target: str, scope: str, c: int, heads: int) -> Iterator[Rule]:
    dim, inner = c // heads, f"{scope}/attention"
    yield from norm(f"{target}.norm", f"{scope}/query_norm", c)
    yield Rule(f"{target}.query.weight", ((f"{inner}//query_w", (c, heads, dim)),), _matrix)
    shared = tuple((f"{inner}//{name}_w", (c, dim)) for name in ("key", "value"))
    yield Rule(f"{target}.key_value.weight", shared, _matrix)
    yield Rule(f"{target}.gate.weight", ((f"{inner}//gating_w", (c, heads, dim)),), _matrix)
    yield Rule(f"{target}.gate.bias", ((f"{inner}//gating_b", (heads, dim)),), _vector)
    yield from _heads_output(f"{target}.output", inner, (heads, dim, c))


def evoformer_block(target: str, scope: str, config: StackConfig, c_z: int, global_columns: bool) -> Iterator[Rule]:
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
    yield from pair_updates(target, scope, c_z, config.pair_heads, config.c_triangle)
    yield from transition(f"{target}.pair_transition", f"{scope}/pair_transition", c_z, config.transition_factor)


def template_block(target: str, config: TemplateConfig) -> Iterator[Rule]:
    yield from pair_updates(target, TEMPLATE_STACK, config.c_t, config.heads, config.c_triangle)
    yield from transition(
        f"{target}.transition", f"{TEMPLATE_STACK}/pair_transition", config.c_t, config.transition_factor
    )


def stacked(rules: Callable[[str], Iterator[Rule]], target: str, blocks: int) -> Iterator[Rule]:
    """The rules of one block, for every block of a stack."""
    for block in range(blocks):
        for rule in rules(f"{target}.{block}"):
            sources = tuple((key, (blocks, *shape)) for key, shape in rule.sources)
            yield Rule(rule.target, sources, rule.combine, block, blocks)


def embedders(config: ModelConfig) -> Iterator[Rule]:
    c_m, c_z = config.evoformer.c_m, config.c_z
    yield from linear("trunk.input.target", f"{EVOFORMER}/preprocess_1d", C_TARGET, c_m)
    yield from linear("trunk.input.msa", f"{EVOFORMER}/preprocess_msa", C_MSA, c_m)
    yield from linear("trunk.input.left", f"{EVOFORMER}/left_single", C_TARGET, c_z)
    yield from linear("trunk.input.right", f"{EVOFORMER}/right_single", C_TARGET, c_z)
    # "activiations" is the published spelling.
    yield from linear("trunk.input.relative", f"{EVOFORMER}/pair_activiations", 2 * config.max_relative + 1, c_z)
    yield from linear("trunk.recycling.distances", f"{EVOFORMER}/prev_pos_linear", RecyclingEmbedder.BINS, c_z)
    yield from norm("trunk.recycling.norm_m", f"{EVOFORMER}/prev_msa_first_row_norm", c_m)
    yield from norm("trunk.recycling.norm_z", f"{EVOFORMER}/prev_pair_norm", c_z)
    extra = EXTRA_CLASSES + 2  # and whether there is a deletion, and how long
    yield from linear("trunk.extra_embedder.project", f"{EVOFORMER}/extra_msa_activations", extra, config.extra_msa.c_m)
    yield from linear("trunk.single", f"{EVOFORMER}/single_activations", c_m, config.c_s)


def templates(config: TemplateConfig, c_m: int, c_z: int) -> Iterator[Rule]:
    ours, single, c_t = "trunk.template_pairs", f"{TEMPLATE}/single_template_embedding", config.c_t
    yield from linear(f"{ours}.embed", f"{single}/embedding2d", C_PAIR_FEATURES, c_t)
    yield from stacked(lambda target: template_block(target, config), f"{ours}.blocks", config.blocks)
    yield from norm(f"{ours}.norm", f"{single}/output_layer_norm", c_t)
    split = (config.heads, c_t // config.heads)
    for name, width in (("query", c_z), ("key", c_t), ("value", c_t)):
        source = (f"{TEMPLATE}/attention//{name}_w", (width, *split))
        yield Rule(f"{ours}.attention.{name}.weight", (source,), _matrix)
    yield from _heads_output(f"{ours}.attention.output", f"{TEMPLATE}/attention", (*split, c_z))
    torsions = "trunk.template_torsions"
    yield from linear(f"{torsions}.embed", f"{EVOFORMER}/template_single_embedding", C_TORSION_FEATURES, c_m)
    yield from linear(f"{torsions}.project", f"{EVOFORMER}/template_projection", c_m, c_m)


def invariant_point_attention(target: str, scope: str, config: StructureConfig, c_s: int, c_z: int) -> Iterator[Rule]:
    h, points = config.heads, config.point_qk + config.point_v
    yield from linear(f"{target}.query", f"{scope}/q_scalar", c_s, h * config.scalar_qk)
    yield from linear(f"{target}.key_value", f"{scope}/kv_scalar", c_s, h * (config.scalar_qk + config.scalar_v))
    yield from linear(f"{target}.query_points", f"{scope}/q_point_local", c_s, 3 * h * config.point_qk)
    yield from linear(f"{target}.key_value_points", f"{scope}/kv_point_local", c_s, 3 * h * points)
    yield from linear(f"{target}.bias", f"{scope}/attention_2d", c_z, h)
    yield Rule(f"{target}.point_weight", ((f"{scope}//trainable_point_weights", (h,)),), _same)
    features = h * (config.scalar_v + 4 * config.point_v + c_z)
    yield from linear(f"{target}.output", f"{scope}/output_projection", features, c_s)


def structure(config: StructureConfig, c_s: int, c_z: int) -> Iterator[Rule]:
    module, ours = f"{ROOT}/structure_module", "structure.layer"
    yield from norm("structure.norm_s", f"{module}/single_layer_norm", c_s)
    yield from norm("structure.norm_z", f"{module}/pair_layer_norm", c_z)
    yield from linear("structure.initial", f"{module}/initial_projection", c_s, c_s)
    yield from invariant_point_attention(f"{ours}.attention", f"{FOLD}/invariant_point_attention", config, c_s, c_z)
    yield from norm(f"{ours}.norm", f"{FOLD}/attention_layer_norm", c_s)
    for k, suffix in enumerate(("", "_1", "_2")):
        yield from linear(f"{ours}.transition.{k}", f"{FOLD}/transition{suffix}", c_s, c_s)
    yield from norm(f"{ours}.transition_norm", f"{FOLD}/transition_layer_norm", c_s)
    # The update has three numbers of a quaternion and three of a translation.
    yield from linear(f"{ours}.backbone", f"{FOLD}/affine_update", c_s, 6)
    angles, c = f"{FOLD}/rigid_sidechain", config.c_angles
    yield from linear(f"{ours}.torsions.current", f"{angles}/input_projection", c_s, c)
    yield from linear(f"{ours}.torsions.initial", f"{angles}/input_projection_1", c_s, c)
    for k in range(config.angle_blocks):
        suffix = f"_{k}" if k else ""
        yield from linear(f"{ours}.torsions.inner.{k}", f"{angles}/resblock1{suffix}", c, c)
        yield from linear(f"{ours}.torsions.outer.{k}", f"{angles}/resblock2{suffix}", c, c)
    # Sine and cosine of seven torsions.
    yield from linear(f"{ours}.torsions.angles", f"{angles}/unnormalized_angles", c, 14)


def heads(config: ModelConfig) -> Iterator[Rule]:
    c_z, c_s, head = config.c_z, config.c_s, config.heads
    yield from linear("heads.distogram.half_logits", f"{ROOT}/distogram_head/half_logits", c_z, head.distogram_bins)
    yield from linear("heads.masked_msa", f"{ROOT}/masked_msa_head/logits", config.evoformer.c_m, MSA_CLASSES)
    yield from linear("heads.resolved", f"{ROOT}/experimentally_resolved_head/logits", c_s, len(ATOM37))
    lddt, c = f"{ROOT}/predicted_lddt_head", head.c_plddt
    yield from norm("heads.lddt.norm", f"{lddt}/input_layer_norm", c_s)
    yield from linear("heads.lddt.first", f"{lddt}/act_0", c_s, c)
    yield from linear("heads.lddt.second", f"{lddt}/act_1", c, c)
    yield from linear("heads.lddt.logits", f"{lddt}/logits", c, head.plddt_bins)
    if head.pae:
        yield from linear("heads.pae", f"{ROOT}/predicted_aligned_error_head/logits", c_z, head.pae_bins)


def rules(config: ModelConfig) -> Iterator[Rule]:
    """The rules for every parameter of the model."""
    c_z, main, extra = config.c_z, config.evoformer, config.extra_msa
    yield from embedders(config)
    if config.template:
        yield from templates(config.template, main.c_m, c_z)
    yield from stacked(
        lambda target: evoformer_block(target, f"{EVOFORMER}/extra_msa_stack", extra, c_z, True),
        "trunk.extra_msa.blocks",
        extra.blocks,
    )
    yield from stacked(
        lambda target: evoformer_block(target, f"{EVOFORMER}/evoformer_iteration", main, c_z, False),
        "trunk.evoformer.blocks",
        main.blocks,
    )
    yield from structure(config.structure, config.c_s, c_z)
    yield from heads(config)


def published_shapes(config: ModelConfig) -> dict[str, Shape]:
    """The keys of this preset's published parameter file, with their shapes."""
    return {key: shape for rule in rules(config) for key, shape in rule.sources}


def from_alphafold(params: Mapping[str, Array], config: ModelConfig, source: str) -> dict[str, torch.Tensor]:
    """Our state dict from published parameters; WeightsError if their keys or shapes are not the preset's."""
    expected = published_shapes(config)
    missing, left = sorted(expected.keys() - params.keys()), sorted(params.keys() - expected.keys())
    wrong = [key for key in expected.keys() & params.keys() if params[key].shape != expected[key]]
    if missing or left or wrong:
        counts = f"{len(missing)} keys missing, {len(left)} not used, {len(wrong)} of another shape"
        example = (missing or left or sorted(wrong))[0]
        raise WeightsError(f"{source}: not the parameters of {config.name}: {counts} (the first: {example})")
    return {rule.target: _parameter(rule, params) for rule in rules(config)}


def _parameter(rule: Rule, params: Mapping[str, Array]) -> torch.Tensor:
    arrays = [params[key] if rule.block is None else params[key][rule.block] for key, _ in rule.sources]
    return torch.from_numpy(np.ascontiguousarray(rule.combine(*arrays), dtype=np.float32))
