"""OpenFold's checkpoints under the names that its versions write.

The names are spelled out here as OpenFold's modules have them, apart from the table under test.
"""

import re

import numpy as np
import pytest
import torch

from foldcli.compose import model_config
from foldcli.config import ModelConfig
from foldcli.errors import WeightsError
from foldcli.weights.alphafold import EVOFORMER, FOLD, from_alphafold, published_shapes, rules
from foldcli.weights.files import read_state_dict
from foldcli.weights.openfold import from_openfold, openfold_names
from foldcli.weights.seeded import seeded_parameters

NORM = ("weight", "bias")
MHA = ("linear_q.weight", "linear_k.weight", "linear_v.weight", "linear_o.weight", "linear_o.bias")
GATED = (*MHA, "linear_g.weight", "linear_g.bias")
TRI_MUL = dict.fromkeys(("linear_a_p", "linear_a_g", "linear_b_p", "linear_b_g"), NORM)
TRI_MUL |= dict.fromkeys(("linear_g", "linear_z", "layer_norm_in", "layer_norm_out"), NORM)
TRI_ATT = {"layer_norm": NORM, "linear": ("weight",), "mha": GATED}
MLP = {"layer_norm": NORM, "linear_1": NORM, "linear_2": NORM}
PAIR = {"tri_mul_out": TRI_MUL, "tri_mul_in": TRI_MUL, "tri_att_start": TRI_ATT, "tri_att_end": TRI_ATT}
PAIR |= {"pair_transition": MLP}
OUTER = {"layer_norm": NORM, "linear_1": NORM, "linear_2": NORM, "linear_out": NORM}
ROW = {"layer_norm_m": NORM, "layer_norm_z": NORM, "linear_z": ("weight",), "mha": GATED}
COLUMN = {"_msa_att": {"layer_norm_m": NORM, "mha": GATED}}
GLOBAL = {"layer_norm_m": NORM, "global_attention": GATED}


def modules(config: ModelConfig, version: int) -> dict:
    """OpenFold's tree of modules in version 1 (`core`) or 2 (`pair_stack`, `template_embedder`)."""
    msa = {"msa_transition": MLP, "outer_product_mean": OUTER}
    shared = {**msa, "pair_stack": PAIR} if version == 2 else {"core": msa | PAIR}
    points = {"linear": NORM} if version == 2 else NORM
    templates = {
        "template_pair_embedder": {"linear": NORM},
        "template_single_embedder" if version == 2 else "template_angle_embedder": {"linear_1": NORM, "linear_2": NORM},
        "template_pair_stack": {
            "layer_norm": NORM,
            "blocks": [PAIR] * (config.template.blocks if config.template else 0),
        },
        "template_pointwise_att": {"mha": MHA},
    }
    tree = {
        "input_embedder": dict.fromkeys(
            ("linear_tf_z_i", "linear_tf_z_j", "linear_tf_m", "linear_msa_m", "linear_relpos"), NORM
        ),
        "recycling_embedder": {"linear": NORM, "layer_norm_m": NORM, "layer_norm_z": NORM},
        "extra_msa_embedder": {"linear": NORM},
        "extra_msa_stack": {
            "blocks": [{"msa_att_row": ROW, "msa_att_col": GLOBAL, **shared}] * config.extra_msa.blocks
        },
        "evoformer": {
            "blocks": [{"msa_att_row": ROW, "msa_att_col": COLUMN, **shared}] * config.evoformer.blocks,
            "linear": NORM,
        },
        "structure_module": {
            "layer_norm_s": NORM,
            "layer_norm_z": NORM,
            "linear_in": NORM,
            "ipa": {
                "": ("head_weights",),
                **dict.fromkeys(("linear_q", "linear_kv", "linear_b", "linear_out"), NORM),
                "linear_q_points": points,
                "linear_kv_points": points,
            },
            "layer_norm_ipa": NORM,
            "transition": {"layers": [dict.fromkeys(("linear_1", "linear_2", "linear_3"), NORM)], "layer_norm": NORM},
            "bb_update": {"linear": NORM},
            "angle_resnet": {
                **dict.fromkeys(("linear_in", "linear_initial", "linear_out"), NORM),
                "layers": [{"linear_1": NORM, "linear_2": NORM}] * config.structure.angle_blocks,
            },
        },
        "aux_heads": {
            "plddt": {"layer_norm": NORM, "linear_1": NORM, "linear_2": NORM, "linear_3": NORM},
            **{head: {"linear": NORM} for head in ("distogram", "masked_msa", "experimentally_resolved")},
        },
    }
    if config.heads.pae:
        tree["aux_heads"]["tm"] = {"linear": NORM}
    if config.template:
        tree |= {"template_embedder": templates} if version == 2 else templates
    return tree


def multimer_modules(config: ModelConfig) -> dict:
    """OpenFold's tree of modules of AlphaFold-Multimer v3, which version 2 alone has."""
    tree = modules(config, 2)
    fused = {name: NORM for name in TRI_MUL if name[:8] not in ("linear_a", "linear_b")}
    fused |= {"linear_ab_p": NORM, "linear_ab_g": NORM}
    pair = PAIR | {"tri_mul_out": fused, "tri_mul_in": fused}
    for stack in ("extra_msa_stack", "evoformer"):
        tree[stack]["blocks"] = [{**block, "pair_stack": pair} for block in tree[stack]["blocks"]]
    features = "dgram_linear aatype_linear_1 aatype_linear_2 query_embedding_layer_norm query_embedding_linear"
    features += " pseudo_beta_mask_linear x_linear y_linear z_linear backbone_mask_linear"
    tree["template_embedder"] = {
        "template_pair_embedder": dict.fromkeys(features.split(), NORM),
        "template_single_embedder": {"template_single_embedder": NORM, "template_projector": NORM},
        "template_pair_stack": {"layer_norm": NORM, "blocks": [pair] * config.template.blocks},
        "linear_t": NORM,
    }
    tree["structure_module"]["ipa"] = {
        "": ("head_weights",),
        **dict.fromkeys(("linear_q", "linear_k", "linear_v"), ("weight",)),
        **dict.fromkeys(("linear_b", "linear_out"), NORM),
        **{f"linear_{kind}_points": {"linear": NORM} for kind in "qkv"},
    }
    return tree


def spelled(tree: dict | list | tuple, prefix: str = "") -> list[str]:
    if isinstance(tree, tuple):
        return [f"{prefix}.{leaf}" for leaf in tree]
    items = enumerate(tree) if isinstance(tree, list) else tree.items()
    return [name for key, sub in items for name in spelled(sub, f"{prefix}.{key}".strip(".") if key != "" else prefix)]


def plain(name: str) -> str:
    name = name.replace("template_angle_embedder", "template_single_embedder").replace("_points.linear.", "_points.")
    return re.sub(r"\b(core|pair_stack|template_embedder|_msa_att)\.", "", name)


def checkpoint(config: ModelConfig, version: int) -> tuple[dict[str, np.ndarray], dict[str, torch.Tensor]]:
    """Published parameters, and the same in OpenFold's layout, by the inverse of the rule under test."""
    published = seeded_parameters(published_shapes(config))
    blocks = {key: rule.blocks for rule in rules(config) for key, _ in rule.sources}
    tree = multimer_modules(config) if config.complexes else modules(config, version)
    spelling = {plain(name): name for name in spelled(tree)}
    theirs = {}
    for key, array in published.items():
        layers = array if blocks[key] else [array]
        for name, layer in zip(openfold_names(key, blocks[key], config.complexes), layers, strict=True):
            theirs[spelling[name]] = torch.from_numpy(flattened(key, layer))
    assert sorted(theirs) == sorted(spelling.values())
    return published, theirs


def flattened(key: str, layer: np.ndarray) -> np.ndarray:
    leaf = key.split("//")[1]
    if leaf == "output_w":
        return layer.reshape(-1, layer.shape[-1]).T.copy()
    if "triangle_multiplication_incoming/projection/" in key or "triangle_multiplication_incoming/gate/" in key:
        layer = np.concatenate(np.split(layer, 2, axis=-1)[::-1], axis=-1)
    if leaf == "weights" and layer.ndim == 1:
        return layer[:, None]
    if layer.ndim > 1 and leaf.endswith(("_w", "weights")):
        return layer.reshape(layer.shape[0], -1).T.copy()
    return layer.reshape(-1)


@pytest.fixture(scope="module")
def tiny() -> ModelConfig:
    return model_config("tiny")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("overrides", [(), ("model.heads.pae=false",), ("model.template=null",)])
def test_both_versions_give_the_published_parameters(version, overrides, tmp_path):
    config = model_config("tiny", overrides)
    published, theirs = checkpoint(config, version)
    torch.save({"ema": {"params": theirs}, "state_dict": {}}, tmp_path / "openfold.pt")
    expected = from_alphafold(published, config, "npz")
    found = from_openfold(read_state_dict(tmp_path / "openfold.pt"), config, "openfold.pt")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_multimer_checkpoints_give_the_published_parameters():
    config = model_config("tiny_multimer")
    published, theirs = checkpoint(config, 2)
    expected, found = from_alphafold(published, config, "npz"), from_openfold(theirs, config, "openfold.pt")
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    triangle = "triangle_multiplication_incoming/projection//weights"  # OpenFold's left half is the published right one
    left = published[f"{EVOFORMER}/evoformer_iteration/{triangle}"][1][:, 32:]
    fused = theirs["evoformer.blocks.1.pair_stack.tri_mul_in.linear_ab_p.weight"][:32]
    np.testing.assert_array_equal(fused.numpy(), left.T)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("preset", ["model_1", "model_1_ptm", "model_3", "model_3_ptm"])
def test_full_size_presets_have_every_name(preset, version):
    config = model_config(preset)
    names = [name for rule in rules(config) for key, _ in rule.sources for name in openfold_names(key, rule.blocks)]
    assert set(names) == {plain(name) for name in spelled(modules(config, version))}


def test_orientation_of_what_is_easily_mistaken(tiny):
    published, theirs = checkpoint(tiny, 2)
    triangle = f"{EVOFORMER}/evoformer_iteration/triangle_multiplication"
    block = "evoformer.blocks.1.pair_stack"
    for side, left, right in (("outgoing", "tri_mul_out.linear_a_p", "tri_mul_out.linear_b_p"),
                              ("incoming", "tri_mul_in.linear_b_p", "tri_mul_in.linear_a_p")):  # fmt: skip
        for name, ours in (("left", left), ("right", right)):
            array = published[f"{triangle}_{side}/{name}_projection//weights"][1]
            np.testing.assert_array_equal(theirs[f"{block}.{ours}.weight"].numpy(), array.T)
    query = published[f"{EVOFORMER}/evoformer_iteration/msa_row_attention_with_pair_bias/attention//query_w"][0]
    head, dim = 2, 3
    row = theirs["evoformer.blocks.0.msa_att_row.mha.linear_q.weight"][head * query.shape[2] + dim]
    np.testing.assert_array_equal(row.numpy(), query[:, head, dim])
    outer = published[f"{EVOFORMER}/evoformer_iteration/outer_product_mean//output_w"][0]
    column = theirs["evoformer.blocks.0.outer_product_mean.linear_out.weight"][:, 2 * outer.shape[1] + 5]
    np.testing.assert_array_equal(column.numpy(), outer[2, 5])
    weights = published[f"{FOLD}/invariant_point_attention//trainable_point_weights"]
    np.testing.assert_array_equal(theirs["structure_module.ipa.head_weights"].numpy(), weights)


def test_missing_left_over_and_misshapen_names_are_listed(tiny, one_line):
    _, theirs = checkpoint(tiny, 1)
    del theirs["aux_heads.tm.linear.bias"]
    with pytest.raises(WeightsError) as caught:
        from_openfold(theirs | {"aux_heads.extra.weight": torch.zeros(1)}, tiny, "of.pt")
    assert one_line(caught.value).startswith("of.pt: not OpenFold's parameters of tiny: ")
    assert "1 missing (aux_heads.tm.linear.bias), 1 not used (aux_heads.extra.weight)" in str(caught.value)
    with pytest.raises(WeightsError, match=r"'aux_heads.tm.linear.bias' is \[3\], expected \[64\]"):
        from_openfold(theirs | {"aux_heads.tm.linear.bias": torch.zeros(3)}, tiny, "of.pt")
    with pytest.raises(WeightsError, match="twice"):
        from_openfold(theirs | {"core.aux_heads.plddt.linear_1.bias": torch.zeros(3)}, tiny, "of.pt")
