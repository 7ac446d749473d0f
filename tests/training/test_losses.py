"""Losses and gradients equal DeepMind's, term by term; unknown atoms count nothing and give no NaN."""

import dataclasses
from pathlib import Path

import pytest
import torch

from foldcli.config import LossConfig
from foldcli.data.training.sample import Labels
from foldcli.geometry.rigid import Rigid, quaternion_to_rotation
from foldcli.model.alphafold import AlphaFold, Output
from foldcli.model.features import Features
from foldcli.model.structure import StructureState, all_atoms
from foldcli.protein import residues
from foldcli.protein.stereochemistry import ATOM14_OTHER_NAME
from foldcli.training.losses import Terms, total
from tests.golden.alphafold_losses import GRADIENT, TERM, LossRun, norm_differences, term_differences

RUN = LossRun(Path(__file__).parents[1] / "golden" / "losses")
WEIGHTS = LossConfig(smooth_lddt=0.5, resolved=0.01, pae=0.1, violations=1.0)
BACKBONE = [residues.N, residues.CA, residues.C]


@pytest.fixture(scope="module")
def scored() -> tuple[AlphaFold, Terms]:
    return RUN.scored()


def test_terms_are_alphafolds(scored: tuple[AlphaFold, Terms]) -> None:
    found = term_differences(RUN, scored[1])
    assert len(found) == 12
    assert max(found.values()) < TERM, found


def test_gradients_have_alphafolds_norms(scored: tuple[AlphaFold, Terms]) -> None:
    found = norm_differences(RUN, scored[0])
    assert len(found) == 383
    assert max(found.values()) < GRADIENT, found


@pytest.fixture
def sample() -> tuple[Features, Labels]:
    return RUN.passes()[0], RUN.labels()


def made_up(features: Features, seed: int, translation: float = 6.0) -> tuple[Output, list[torch.Tensor]]:
    """A random output, and its tensors."""
    random, n, rows = torch.Generator().manual_seed(seed), features.aatype.shape[-1], features.msa_feat.shape[-3]
    shapes = [(n, 4), (n, 3), (n, 7, 2), (n, n, 64), (rows, n, 23), (n, 37), (n, 50), (n, n, 64)]
    leaves = [torch.randn(shape, generator=random) for shape in shapes]
    leaves[1] *= translation
    return output_of(features, [leaf.requires_grad_() for leaf in leaves]), leaves


def output_of(features: Features, leaves: list[torch.Tensor]) -> Output:
    quaternion, translation, raw, distogram, msa, resolved, lddt, pae = leaves
    frames = Rigid(quaternion_to_rotation(quaternion / quaternion.norm(dim=-1, keepdim=True)), translation)
    states = [StructureState(frames, raw / raw.norm(dim=-1, keepdim=True), raw)] * 2
    return Output(
        positions=all_atoms(features.aatype, states[-1]), states=states, distogram=distogram, masked_msa=msa,
        resolved=resolved, lddt=lddt, pae=pae, msa_first_row=msa[..., 0, :, :], pair=pae, single=lddt,
    )  # fmt: skip


def symmetric_atoms_swapped(aatype: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    swapped = positions.clone()
    for residue, kind in enumerate(aatype):
        slots, others = residues.ATOM14_TO_37[kind], residues.ATOM14_TO_37[kind][ATOM14_OTHER_NAME[kind]]
        swapped[residue, slots] = positions[residue, others]
    return swapped


@pytest.mark.parametrize("swapped", [False, True])
def test_a_perfect_prediction_under_either_naming(sample: tuple[Features, Labels], swapped: bool) -> None:
    features, labels = sample
    output, leaves = made_up(features, 1)
    truth = (
        symmetric_atoms_swapped(features.aatype, output.positions.detach()) if swapped else output.positions.detach()
    )
    assert truth.equal(output.positions) != swapped
    mask = torch.from_numpy(residues.ATOM37_MASK)[features.aatype]
    labels = dataclasses.replace(labels, positions=truth + 50, mask=mask)
    terms = total(output, features, labels, WEIGHTS)
    assert finite(terms, leaves)
    terms = {key: float(value.detach()) for key, value in terms.items()}
    assert terms["backbone_fape"] == pytest.approx(1e-3, abs=1e-5)  # the epsilon below Alg. 28's square root
    assert terms["side_chain_fape"] == pytest.approx(1e-3, abs=1e-4)
    assert terms["chi"] == pytest.approx(0, abs=1e-3)
    best = torch.nn.functional.cross_entropy(output.lddt.detach(), torch.full((len(mask),), 49))
    assert terms["lddt"] == pytest.approx(float(best))


def finite(terms: Terms, leaves: list[torch.Tensor]) -> bool:
    gradients = torch.autograd.grad(terms["total"].sum(), leaves, materialize_grads=True)
    return all(bool(value.isfinite().all()) for value in [*terms.values(), *gradients])


@pytest.mark.parametrize("known", ["nothing", "backbone"])
@pytest.mark.parametrize("translation", [6.0, 0.0])
def test_what_is_missing_gives_zeros_and_no_nan(
    sample: tuple[Features, Labels], known: str, translation: float
) -> None:
    features, labels = sample
    mask = torch.zeros_like(labels.mask)
    if known == "backbone":
        mask[:, BACKBONE] = labels.mask[:, BACKBONE]
    labels = dataclasses.replace(labels, positions=labels.positions * mask[..., None], mask=mask)
    output, leaves = made_up(features, 2, translation)
    terms = total(output, features, labels, WEIGHTS)
    assert finite(terms, leaves)
    assert terms["chi"] == 0
    assert (terms["backbone_fape"] == 0) == (known == "nothing")
    assert (terms["lddt"] == 0) == (known == "nothing")


def test_side_chains_that_nobody_knows_are_not_called_unresolved(sample: tuple[Features, Labels]) -> None:
    features, labels = sample
    output, _ = made_up(features, 3)
    mask = torch.zeros_like(labels.mask)
    mask[:, BACKBONE] = 1
    terms = total(output, features, dataclasses.replace(labels, mask=mask), LossConfig(resolved=1))
    backbone = torch.from_numpy(residues.ATOM37_MASK)[features.aatype][:, :5]
    error = torch.nn.functional.binary_cross_entropy_with_logits(output.resolved[:, :5], mask[:, :5], reduction="none")
    assert torch.allclose(terms["resolved"], error[backbone > 0].mean())


def test_padding_counts_nothing_and_samples_stand_alone(sample: tuple[Features, Labels]) -> None:
    """A micro-batch of the sample, padded with noise, and of another: each has the loss that it has alone."""
    features, labels = sample
    n = features.aatype.shape[-1] - 5
    short, short_labels = padded(features, n), padded(labels, n)
    outputs = [made_up(features, 4), made_up(features, 5)]
    cut = [leaf[:, :n] if k == 4 else leaf[:n, :n] if leaf.ndim == 3 and k > 2 else leaf[:n]
           for k, leaf in enumerate(outputs[0][1])]  # fmt: skip
    unclamped = dataclasses.replace(labels, clamped=torch.tensor(0.0), resolution=torch.tensor(0.0))
    alone = [
        total(output_of(short, cut), short, short_labels, WEIGHTS), total(outputs[1][0], features, unclamped, WEIGHTS)
    ]  # fmt: skip
    assert all(alone[1][key] == 0 for key in ("lddt", "resolved", "pae"))  # not learnt where the resolution is unknown
    mask = (torch.arange(len(features.seq_mask)) < n).float()
    both = stacked(dataclasses.replace(features, seq_mask=mask), features)
    together = output_of(both, [torch.stack(pair) for pair in zip(outputs[0][1], outputs[1][1], strict=True)])
    terms = total(together, both, stacked(labels, unclamped), WEIGHTS)
    for key, value in terms.items():
        expected = torch.stack([alone[0][key], alone[1][key]])
        assert torch.allclose(value, expected, rtol=1e-5, atol=1e-6), key


def padded(value: Features | Labels, n: int) -> Features | Labels:
    """The first n residues of everything that has a residue axis but templates, which the losses do not use."""
    cut = {}
    for field in dataclasses.fields(value):
        x = getattr(value, field.name)
        by_row = field.name in ("msa_feat", "msa_mask", "extra_msa", "extra_mask", "extra_has_deletion",
                                "extra_deletion", "true_msa", "bert_mask")  # fmt: skip
        cut[field.name] = None if not isinstance(x, torch.Tensor) else x[:, :n] if by_row else x[:n] if x.ndim else x
    return type(value)(**cut)


def stacked(a: Features | Labels, b: Features | Labels) -> Features | Labels:
    pairs = {field.name: (getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(a)}
    return type(a)(**{k: torch.stack(pair) if isinstance(pair[0], torch.Tensor) else None for k, pair in pairs.items()})


def test_terms_of_weight_zero_are_left_out(sample: tuple[Features, Labels]) -> None:
    features, labels = sample
    output = dataclasses.replace(made_up(features, 6)[0], pae=None)
    assert set(total(output, features, labels, LossConfig(chi=0, distogram=0))) == {
        "backbone_fape", "side_chain_fape", "angle_norm", "masked_msa", "lddt", "total", "lddt_ca",
    }  # fmt: skip
