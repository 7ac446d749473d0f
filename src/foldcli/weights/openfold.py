"""OpenFold's checkpoints: its parameters' names, and how its tensors become AlphaFold's published arrays.

OpenFold keeps one tensor per layer, dense weights [out, in], heads flattened; AlphaFold stacks the layers and keeps
[in, heads, dim]. Its versions differ in wrapper modules (`core`, `pair_stack`, `template_embedder`), which are
removed from the names, so that one table serves all versions. Names as in openfold's import_weights.py.
"""

import math
import re
from collections.abc import Iterator, Mapping

import numpy as np
import torch

from foldcli.config import ModelConfig
from foldcli.errors import WeightsError
from foldcli.weights import multimer
from foldcli.weights.alphafold import TEMPLATE_STACK, from_alphafold, rules
from foldcli.weights.layer_rules import EVOFORMER, FOLD, ROOT, TEMPLATE, Array, Shape

WRAPPERS = {"core", "pair_stack", "template_embedder", "_msa_att", "stack"}
# A part of a name in some versions -> its name in the table below.
RENAMED = {"template_angle_embedder": "template_single_embedder"}

STACKS = {
    f"{EVOFORMER}/evoformer_iteration": "evoformer.blocks",
    f"{EVOFORMER}/extra_msa_stack": "extra_msa_stack.blocks",
    TEMPLATE_STACK: "template_pair_stack.blocks",
    multimer.STACK: "template_pair_stack.blocks",
}
TRIANGLE = {
    "layer_norm_input": "layer_norm_in",
    "center_layer_norm": "layer_norm_out",
    "left_norm_input": "layer_norm_in",
    "center_norm": "layer_norm_out",
    "projection": "linear_ab_p",
    "gate": "linear_ab_g",
    "output_projection": "linear_z",
    "gating_linear": "linear_g",
}
OUTGOING = {
    "left_projection": "linear_a_p",
    "right_projection": "linear_b_p",
    "left_gate": "linear_a_g",
    "right_gate": "linear_b_g",
}
# AlphaFold's published incoming triangle multiplication swaps the left and right of the paper; OpenFold's does not.
INCOMING = {
    "left_projection": "linear_b_p",
    "right_projection": "linear_a_p",
    "left_gate": "linear_b_g",
    "right_gate": "linear_a_g",
}
SWAPPED = re.compile("/triangle_multiplication_incoming/(projection|gate)//")  # those that hold both
TRANSITION = {"input_layer_norm": "layer_norm", "transition1": "linear_1", "transition2": "linear_2"}
TRIANGLE_ATTENTION = {"": "linear", "query_norm": "layer_norm", "attention": "mha"}
MSA_ATTENTION = {"query_norm": "layer_norm_m", "attention": "mha"}
PRODUCT = {"": "linear_out", "layer_norm_input": "layer_norm", "left_projection": "linear_1"}

# Module of a block -> OpenFold's name, and the names of its parts; "" stands for the module's own parameters.
BLOCK = {
    "msa_row_attention_with_pair_bias": (
        "msa_att_row",
        MSA_ATTENTION | {"": "linear_z", "feat_2d_norm": "layer_norm_z"},
    ),
    "msa_column_attention": ("msa_att_col", MSA_ATTENTION),
    "msa_column_global_attention": ("msa_att_col", MSA_ATTENTION | {"attention": "global_attention"}),
    "msa_transition": ("msa_transition", TRANSITION),
    "outer_product_mean": ("outer_product_mean", PRODUCT | {"right_projection": "linear_2"}),
    "triangle_multiplication_outgoing": ("tri_mul_out", TRIANGLE | OUTGOING),
    "triangle_multiplication_incoming": ("tri_mul_in", TRIANGLE | INCOMING),
    "triangle_attention_starting_node": ("tri_att_start", TRIANGLE_ATTENTION),
    "triangle_attention_ending_node": ("tri_att_end", TRIANGLE_ATTENTION),
    "pair_transition": ("pair_transition", TRANSITION),
}

ANGLES, ATTENTION, LDDT = f"{FOLD}/rigid_sidechain", f"{FOLD}/invariant_point_attention", f"{ROOT}/predicted_lddt_head"
# Modules outside stacks.
SINGLE = {
    f"{EVOFORMER}/preprocess_1d": "input_embedder.linear_tf_m",
    f"{EVOFORMER}/preprocess_msa": "input_embedder.linear_msa_m",
    f"{EVOFORMER}/left_single": "input_embedder.linear_tf_z_i",
    f"{EVOFORMER}/right_single": "input_embedder.linear_tf_z_j",
    f"{EVOFORMER}/pair_activiations": "input_embedder.linear_relpos",
    multimer.RELATIVE: "input_embedder.linear_relpos",
    f"{EVOFORMER}/prev_pos_linear": "recycling_embedder.linear",
    f"{EVOFORMER}/prev_msa_first_row_norm": "recycling_embedder.layer_norm_m",
    f"{EVOFORMER}/prev_pair_norm": "recycling_embedder.layer_norm_z",
    f"{EVOFORMER}/extra_msa_activations": "extra_msa_embedder.linear",
    f"{EVOFORMER}/single_activations": "evoformer.linear",
    f"{EVOFORMER}/template_single_embedding": "template_single_embedder.linear_1",
    f"{EVOFORMER}/template_projection": "template_single_embedder.linear_2",
    f"{TEMPLATE}/single_template_embedding/embedding2d": "template_pair_embedder.linear",
    f"{TEMPLATE}/single_template_embedding/output_layer_norm": "template_pair_stack.layer_norm",
    f"{TEMPLATE}/attention": "template_pointwise_att.mha",
    f"{ROOT}/structure_module/single_layer_norm": "structure_module.layer_norm_s",
    f"{ROOT}/structure_module/pair_layer_norm": "structure_module.layer_norm_z",
    f"{ROOT}/structure_module/initial_projection": "structure_module.linear_in",
    ATTENTION: "structure_module.ipa",
    f"{ATTENTION}/q_scalar": "structure_module.ipa.linear_q",
    f"{ATTENTION}/kv_scalar": "structure_module.ipa.linear_kv",
    f"{ATTENTION}/q_point_local": "structure_module.ipa.linear_q_points",
    f"{ATTENTION}/kv_point_local": "structure_module.ipa.linear_kv_points",
    f"{ATTENTION}/attention_2d": "structure_module.ipa.linear_b",
    f"{ATTENTION}/output_projection": "structure_module.ipa.linear_out",
    f"{FOLD}/attention_layer_norm": "structure_module.layer_norm_ipa",
    f"{FOLD}/transition": "structure_module.transition.layers.0.linear_1",
    f"{FOLD}/transition_1": "structure_module.transition.layers.0.linear_2",
    f"{FOLD}/transition_2": "structure_module.transition.layers.0.linear_3",
    f"{FOLD}/transition_layer_norm": "structure_module.transition.layer_norm",
    f"{FOLD}/affine_update": "structure_module.bb_update.linear",
    multimer.UPDATE: "structure_module.bb_update.linear",
    f"{ANGLES}/input_projection": "structure_module.angle_resnet.linear_in",
    f"{ANGLES}/input_projection_1": "structure_module.angle_resnet.linear_initial",
    f"{ANGLES}/unnormalized_angles": "structure_module.angle_resnet.linear_out",
    f"{LDDT}/input_layer_norm": "aux_heads.plddt.layer_norm",
    f"{LDDT}/act_0": "aux_heads.plddt.linear_1",
    f"{LDDT}/act_1": "aux_heads.plddt.linear_2",
    f"{LDDT}/logits": "aux_heads.plddt.linear_3",
    f"{ROOT}/distogram_head/half_logits": "aux_heads.distogram.linear",
    f"{ROOT}/masked_msa_head/logits": "aux_heads.masked_msa.linear",
    f"{ROOT}/experimentally_resolved_head/logits": "aux_heads.experimentally_resolved.linear",
    f"{ROOT}/predicted_aligned_error_head/logits": "aux_heads.tm.linear",
}
# Of AlphaFold-Multimer alone; its features of template pairs are numbered.
PAIR_FEATURES = (
    "dgram_linear", "pseudo_beta_mask_linear", "aatype_linear_1", "aatype_linear_2", "x_linear", "y_linear", "z_linear",
    "backbone_mask_linear", "query_embedding_linear",
)  # fmt: skip
MULTIMER = {
    f"{EVOFORMER}/template_single_embedding": "template_single_embedder.template_single_embedder",
    f"{EVOFORMER}/template_projection": "template_single_embedder.template_projector",
    f"{multimer.SINGLE}/query_embedding_norm": "template_pair_embedder.query_embedding_layer_norm",
    f"{TEMPLATE}/output_linear": "linear_t",
}
MULTIMER |= {
    f"{multimer.SINGLE}/template_pair_embedding_{k}": f"template_pair_embedder.{name}"
    for k, name in enumerate(PAIR_FEATURES)
}
MULTIMER |= {
    f"{ATTENTION}/{kind}_{what}_projection{inner}": f"structure_module.ipa.linear_{kind}{ending}"
    for kind in "qkv"
    for what, inner, ending in (("scalar", "", ""), ("point", "/point_projection", "_points"))
}
# AlphaFold's name of an array within its module -> OpenFold's.
LEAVES = {
    "weights": "weight", "bias": "bias", "scale": "weight", "offset": "bias",
    "query_w": "linear_q.weight", "key_w": "linear_k.weight", "value_w": "linear_v.weight",
    "gating_w": "linear_g.weight", "gating_b": "linear_g.bias",
    "output_w": "linear_o.weight", "output_b": "linear_o.bias",
    "feat_2d_weights": "weight", "trainable_point_weights": "head_weights",
}  # fmt: skip
OWN_LEAVES = {"output_w": "weight", "output_b": "bias"}  # of the outer product mean, which is not an attention


def from_openfold(tensors: Mapping[str, torch.Tensor], config: ModelConfig, source: str) -> dict[str, torch.Tensor]:
    """Our state dict from OpenFold's, of any version; WeightsError names what is missing or not used."""
    theirs = _unwrapped(tensors, source)
    expected = {key: (shape, rule.blocks) for rule in rules(config) for key, shape in rule.sources}
    names = {key: list(openfold_names(key, blocks, config.complexes)) for key, (_, blocks) in expected.items()}
    wanted = {name for group in names.values() for name in group}
    if theirs.keys() != wanted:
        raise WeightsError(f"{source}: not OpenFold's parameters of {config.name}: {_difference(wanted, theirs)}")
    published = {key: _published(key, theirs, names[key], *expected[key], source) for key in expected}
    return from_alphafold(published, config, source)


def _unwrapped(tensors: Mapping[str, torch.Tensor], source: str) -> dict[str, torch.Tensor]:
    """The tensors under names without wrappers, as the table spells them; WeightsError if two get the same name."""
    plain: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        parts = (RENAMED.get(part, part) for part in key.split(".") if part not in WRAPPERS)
        name = re.sub(r"(linear_[kvq]+_points)\.linear\.", r"\1.", ".".join(parts))
        if name in plain:
            raise WeightsError(f"{source}: holds '{name}' twice, as two versions of OpenFold spell it")
        plain[name] = tensor
    return plain


def _difference(wanted: set[str], theirs: Mapping[str, torch.Tensor]) -> str:
    missing, left = sorted(wanted - theirs.keys()), sorted(theirs.keys() - wanted)
    lists = ((missing, "missing"), (left, "not used"))
    return ", ".join(
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, what in lists
        if names
    )


def openfold_names(key: str, blocks: int, complexes: bool = False) -> Iterator[str]:
    """OpenFold's names, without wrappers, of AlphaFold's parameter `key`: one for each block of a stack.

    complexes: whether the model is AlphaFold-Multimer, of which some modules have other names.
    """
    scope, leaf = key.split("//")
    stack = next((stack for stack in STACKS if scope.startswith(f"{stack}/")), None)
    if stack is None:
        outside = (complexes and MULTIMER.get(scope)) or _outside_stacks(scope)
        yield f"{outside}.{LEAVES[leaf]}"
        return
    unit, _, part = scope.removeprefix(f"{stack}/").partition("/")
    name, parts = BLOCK[unit]
    ending = OWN_LEAVES.get(leaf, LEAVES[leaf]) if part == "" else LEAVES[leaf]
    for block in range(blocks):
        yield f"{STACKS[stack]}.{block}.{name}.{parts[part]}.{ending}"


def _outside_stacks(scope: str) -> str:
    if residual := re.fullmatch(rf"{ANGLES}/resblock([12])_?(\d*)", scope):
        return f"structure_module.angle_resnet.layers.{residual[2] or 0}.linear_{residual[1]}"
    return SINGLE[scope]


def _published(
    key: str, theirs: Mapping[str, torch.Tensor], names: list[str], shape: Shape, blocks: int, source: str
) -> Array:
    """AlphaFold's array `key` from OpenFold's tensors, stacked over blocks."""
    layer = shape[1:] if blocks else shape
    flat = _flat_shape(key, layer)
    for name in names:
        if theirs[name].shape != flat:
            found = list(theirs[name].shape)
            raise WeightsError(f"{source}: not OpenFold's parameters: '{name}' is {found}, expected {list(flat)}")
    arrays = [theirs[name].detach().float().numpy().T.reshape(layer) for name in names]
    if SWAPPED.search(key):
        arrays = [np.roll(array, array.shape[-1] // 2, axis=-1) for array in arrays]
    return np.stack(arrays) if blocks else arrays[0]


def _flat_shape(key: str, shape: Shape) -> Shape:
    """OpenFold's shape of a parameter that AlphaFold publishes in `shape`: [out, in] for weights, else one axis."""
    if key.split("//")[1] not in ("weights", "feat_2d_weights", "query_w", "key_w", "value_w", "gating_w", "output_w"):
        return (math.prod(shape),)
    if key.endswith("//output_w") or len(shape) == 1:  # a vector: the weights of one input
        return (shape[-1], math.prod(shape[:-1]))
    return (math.prod(shape[1:]), shape[0])
