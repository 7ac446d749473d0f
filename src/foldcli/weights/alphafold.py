"""AlphaFold's published parameters: their names and shapes, and which of ours each becomes."""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import torch

from foldcli.config import ModelConfig, StructureConfig, TemplateConfig
from foldcli.errors import WeightsError
from foldcli.model.chain_templates import TemplateChiEmbedder
from foldcli.model.embedders import C_MSA, EXTRA_CLASSES, RecyclingEmbedder, relative_channels
from foldcli.model.template import C_PAIR_FEATURES, CLASSES, TemplateTorsionEmbedder
from foldcli.protein.residues import ATOM37
from foldcli.weights import multimer
from foldcli.weights.layer_rules import (
    EVOFORMER,
    FOLD,
    ROOT,
    TEMPLATE,
    Array,
    Rule,
    Shape,
    evoformer_block,
    fused_triangle_multiplication,
    heads_output,
    linear,
    matrix,
    norm,
    pair_updates,
    same,
    stacked,
    transition,
    triangle_multiplication,
)

TEMPLATE_STACK = f"{TEMPLATE}/single_template_embedding/template_pair_stack/__layer_stack_no_state"


def embedders(config: ModelConfig) -> Iterator[Rule]:
    c_m, c_z = config.evoformer.c_m, config.c_z
    yield from linear("trunk.input.target", f"{EVOFORMER}/preprocess_1d", config.c_target, c_m)
    yield from linear("trunk.input.msa", f"{EVOFORMER}/preprocess_msa", C_MSA, c_m)
    yield from linear("trunk.input.left", f"{EVOFORMER}/left_single", config.c_target, c_z)
    yield from linear("trunk.input.right", f"{EVOFORMER}/right_single", config.c_target, c_z)
    # "activiations" is the published spelling.
    relative = multimer.RELATIVE if config.complexes else f"{EVOFORMER}/pair_activiations"
    yield from linear("trunk.input.relative", relative, relative_channels(config), c_z)
    yield from linear("trunk.recycling.distances", f"{EVOFORMER}/prev_pos_linear", RecyclingEmbedder.BINS, c_z)
    yield from norm("trunk.recycling.norm_m", f"{EVOFORMER}/prev_msa_first_row_norm", c_m)
    yield from norm("trunk.recycling.norm_z", f"{EVOFORMER}/prev_pair_norm", c_z)
    extra = EXTRA_CLASSES + 2  # and whether there is a deletion, and how long
    yield from linear("trunk.extra_embedder.project", f"{EVOFORMER}/extra_msa_activations", extra, config.extra_msa.c_m)
    yield from linear("trunk.single", f"{EVOFORMER}/single_activations", c_m, config.c_s)


def template_block(target: str, config: TemplateConfig) -> Iterator[Rule]:
    sizes = config.c_t, config.heads, config.c_triangle
    yield from pair_updates(target, TEMPLATE_STACK, *sizes, triangle_multiplication)
    yield from transition(
        f"{target}.transition", f"{TEMPLATE_STACK}/pair_transition", config.c_t, config.transition_factor
    )


def template_pairs(config: TemplateConfig, c_z: int) -> Iterator[Rule]:
    ours, single, c_t = "trunk.template_pairs", f"{TEMPLATE}/single_template_embedding", config.c_t
    yield from linear(f"{ours}.embed", f"{single}/embedding2d", C_PAIR_FEATURES, c_t)
    yield from stacked(lambda target: template_block(target, config), f"{ours}.blocks", config.blocks)
    yield from norm(f"{ours}.norm", f"{single}/output_layer_norm", c_t)
    split = (config.heads, c_t // config.heads)
    for name, width in (("query", c_z), ("key", c_t), ("value", c_t)):
        source = (f"{TEMPLATE}/attention//{name}_w", (width, *split))
        yield Rule(f"{ours}.attention.{name}.weight", (source,), matrix)
    yield from heads_output(f"{ours}.attention.output", f"{TEMPLATE}/attention", (*split, c_z))


def template_rows(embedder: type[TemplateTorsionEmbedder], c_m: int) -> Iterator[Rule]:
    ours, features = "trunk.template_torsions", CLASSES + embedder.C_TORSIONS
    yield from linear(f"{ours}.embed", f"{EVOFORMER}/template_single_embedding", features, c_m)
    yield from linear(f"{ours}.project", f"{EVOFORMER}/template_projection", c_m, c_m)


def invariant_point_attention(target: str, scope: str, config: StructureConfig, c_s: int, c_z: int) -> Iterator[Rule]:
    h, points = config.heads, config.point_qk + config.point_v
    yield from linear(f"{target}.query", f"{scope}/q_scalar", c_s, h * config.scalar_qk)
    yield from linear(f"{target}.key_value", f"{scope}/kv_scalar", c_s, h * (config.scalar_qk + config.scalar_v))
    yield from linear(f"{target}.query_points", f"{scope}/q_point_local", c_s, 3 * h * config.point_qk)
    yield from linear(f"{target}.key_value_points", f"{scope}/kv_point_local", c_s, 3 * h * points)
    yield from linear(f"{target}.bias", f"{scope}/attention_2d", c_z, h)
    yield Rule(f"{target}.point_weight", ((f"{scope}//trainable_point_weights", (h,)),), same)
    features = h * (config.scalar_v + 4 * config.point_v + c_z)
    yield from linear(f"{target}.output", f"{scope}/output_projection", features, c_s)


def structure(config: StructureConfig, c_s: int, c_z: int, complexes: bool) -> Iterator[Rule]:
    attention = multimer.invariant_point_attention if complexes else invariant_point_attention
    module, ours = f"{ROOT}/structure_module", "structure.layer"
    yield from norm("structure.norm_s", f"{module}/single_layer_norm", c_s)
    yield from norm("structure.norm_z", f"{module}/pair_layer_norm", c_z)
    yield from linear("structure.initial", f"{module}/initial_projection", c_s, c_s)
    yield from attention(f"{ours}.attention", f"{FOLD}/invariant_point_attention", config, c_s, c_z)
    yield from norm(f"{ours}.norm", f"{FOLD}/attention_layer_norm", c_s)
    for k, suffix in enumerate(("", "_1", "_2")):
        yield from linear(f"{ours}.transition.{k}", f"{FOLD}/transition{suffix}", c_s, c_s)
    yield from norm(f"{ours}.transition_norm", f"{FOLD}/transition_layer_norm", c_s)
    # The update has three numbers of a quaternion and three of a translation.
    yield from linear(f"{ours}.backbone", multimer.UPDATE if complexes else f"{FOLD}/affine_update", c_s, 6)
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
    yield from linear("heads.masked_msa", f"{ROOT}/masked_msa_head/logits", config.evoformer.c_m, head.msa_classes)
    yield from linear("heads.resolved", f"{ROOT}/experimentally_resolved_head/logits", c_s, len(ATOM37))
    lddt, c = f"{ROOT}/predicted_lddt_head", head.c_plddt
    yield from norm("heads.lddt.norm", f"{lddt}/input_layer_norm", c_s)
    yield from linear("heads.lddt.first", f"{lddt}/act_0", c_s, c)
    yield from linear("heads.lddt.second", f"{lddt}/act_1", c, c)
    yield from linear("heads.lddt.logits", f"{lddt}/logits", c, head.plddt_bins)
    if head.pae:
        yield from linear("heads.pae", f"{ROOT}/predicted_aligned_error_head/logits", c_z, head.pae_bins)


def stacks(config: ModelConfig) -> Iterator[Rule]:
    multiplication = fused_triangle_multiplication if config.complexes else triangle_multiplication
    for stack, scope, ours in (
        (config.extra_msa, "extra_msa_stack", "extra_msa"),
        (config.evoformer, "evoformer_iteration", "evoformer"),
    ):
        is_extra = stack is config.extra_msa
        block = partial(evoformer_block, scope=f"{EVOFORMER}/{scope}", config=stack, c_z=config.c_z,
                        global_columns=is_extra, multiplication=multiplication)  # fmt: skip
        yield from stacked(block, f"trunk.{ours}.blocks", stack.blocks)


def rules(config: ModelConfig) -> Iterator[Rule]:
    """The rules for every parameter of the model."""
    c_z, main = config.c_z, config.evoformer
    yield from embedders(config)
    if config.template:
        pairs = multimer.template_pairs if config.complexes else template_pairs
        yield from pairs(config.template, c_z)
        yield from template_rows(TemplateChiEmbedder if config.complexes else TemplateTorsionEmbedder, main.c_m)
    yield from stacks(config)
    yield from structure(config.structure, config.c_s, c_z, config.complexes)
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
