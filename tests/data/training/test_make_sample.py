"""Training samples: crops, MSA rows, templates and labels match each other."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foldcli.compose import model_config
from foldcli.config import LossConfig, ModelConfig, MsaConfig, SampleConfig, SourceConfig, TemplateConfig, TrainConfig
from foldcli.data.chain import Chain, Template
from foldcli.data.features.featurize import featurize, make_features
from foldcli.data.features.msa import MsaInput, sample_msa
from foldcli.data.features.msa_sampling import MsaDraws, letter_frequencies
from foldcli.data.features.templates import stack_templates
from foldcli.data.query import Alignment, Query
from foldcli.data.training.block_deletion import delete_blocks
from foldcli.data.training.collate import stack
from foldcli.data.training.make_sample import draw_crop, draw_sample, draw_templates, whole_sample
from foldcli.folding.models import read_parameters
from foldcli.model.alphafold import AlphaFold
from foldcli.model.features import Features
from foldcli.protein.residues import LETTERS

DEEP = MsaConfig(max_clusters=12, max_extra=20)
ONE_ROW = MsaConfig(max_clusters=1, max_extra=1)


def a_chain(length: int = 40, depth: int = 0, templates: int = 0) -> Chain:
    """A chain with the atoms of residue k at k angstrom, and an alignment of `depth` rows, or else a profile."""
    random = np.random.default_rng(length)
    sequence = "".join(random.choice(list(LETTERS), length))
    positions = np.broadcast_to(np.arange(length, dtype=np.float32)[:, None, None], (length, 37, 3))
    mask = np.ones((length, 37), np.bool_)
    laid = tuple(Template(str(k), np.full(length, k, np.int8), positions, mask) for k in range(templates))
    alignment = None
    if depth:
        tokens = random.integers(0, 22, (depth, length)).astype(np.int8)
        tokens[0] = Alignment.of_sequence(sequence).tokens[0]
        alignment = Alignment(tokens, random.integers(0, 3, (depth, length)).astype(np.int32))
    profile = random.random((length, 20), np.float32)
    profile /= profile.sum(1, keepdims=True)
    return Chain("chain", sequence, positions, mask, 2.0, alignment, None if depth else profile, laid)


def a_config(msa: MsaConfig, **sample: float) -> TrainConfig:
    model = ModelConfig("small", template=TemplateConfig(), msa=msa)
    return TrainConfig("test", model, SourceConfig(), None, sample=SampleConfig(**sample))


@given(st.integers(1, 60), st.integers(1, 60), st.booleans(), st.integers(0, 2**32))
def test_crop_lies_in_the_chain_and_is_as_long_as_can_be(length, crop, clamped, seed):
    window = draw_crop(length, crop, clamped, np.random.default_rng(seed))
    assert window.start >= 0 and window.stop <= length
    assert window.stop - window.start == min(length, crop)


def test_crops_reach_every_residue_and_those_not_clamped_lie_nearer_the_front():
    random = np.random.default_rng(0)
    starts = {clamped: [draw_crop(30, 10, clamped, random).start for _ in range(2000)] for clamped in (True, False)}
    for drawn in starts.values():
        assert set(drawn) == set(range(21))
    assert np.mean(starts[True]) == pytest.approx(10, abs=0.5)
    assert np.mean(starts[False]) == pytest.approx(5, abs=0.5)  # uniform below a uniform bound


@given(st.integers(1, 50), st.integers(0, 5), st.floats(0, 1), st.integers(0, 2**32))
def test_deleted_blocks_spare_the_query_and_the_order(depth, blocks, share, seed):
    tokens = np.arange(depth, dtype=np.int8)[:, None]
    kept = delete_blocks(Alignment(tokens, tokens.astype(np.int32)), blocks, share, np.random.default_rng(seed))
    rows = kept.tokens[:, 0].tolist()
    assert rows[0] == 0 and rows == sorted(set(rows)) and rows == kept.deletions[:, 0].tolist()
    gone = sorted(set(range(depth)) - set(rows))
    assert len(gone) <= blocks * int(share * depth)
    assert sum(b - a > 1 for a, b in pairwise(gone)) < max(blocks, 1)


def test_blocks_of_an_alignment_are_deleted():
    chain, config = a_chain(depth=60), a_config(replace(DEEP, max_extra=100))
    rows = [len(s.passes[0].extra_msa) for s in (draw_sample(chain, config, 0, random) for random in generators(30))]
    assert max(rows) < 48 and min(rows) < 10


def generators(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(k) for k in range(count)]


@pytest.mark.parametrize("depth", [0, 50])
def test_truth_belongs_to_the_crop_and_to_the_last_pass(depth):
    chain, config = a_chain(depth=depth), a_config(DEEP, crop=16)
    hidden = []
    for random in generators(40):
        sample = draw_sample(chain, config, 2, random)
        labels, last = sample.labels, sample.passes[-1]
        assert len(sample.passes) == 3
        place = last.residue_index
        assert torch.equal(labels.positions[:, 1, 0], place.float())
        assert torch.equal(labels.true_msa[0], last.aatype)
        assert last.aatype.tolist() == Alignment.of_sequence(chain.sequence).tokens[0, place].tolist()
        seen, kept = last.msa_feat[..., :23].argmax(-1), labels.bert_mask == 0
        assert torch.equal(seen[kept], labels.true_msa[kept])
        hidden.append(labels.bert_mask.mean())
    assert np.mean(hidden) == pytest.approx(0.15, abs=0.03)
    # labels are of the last pass: the others mask other letters
    assert not torch.equal(sample.passes[0].msa_feat, last.msa_feat)


def test_cut_rows_are_those_of_the_whole_chain():
    chain = a_chain(depth=50)
    msa_input = MsaInput.of_alignment(chain.alignment)
    rows = sample_msa(msa_input, DEEP, MsaDraws.of_generator(np.random.default_rng(3)))
    whole, part = (make_features(chain.sequence, msa_input, rows, window) for window in (slice(0, 40), slice(7, 29)))
    for name, axis in {"aatype": 0, "residue_index": 0, "msa_feat": 1, "extra_msa": 1, "extra_deletion": 1}.items():
        expected = getattr(whole, name).narrow(axis, 7, 22)
        assert torch.equal(getattr(part, name), expected), name


def test_sequence_alone_is_seen_as_when_folded():
    msa = replace(ONE_ROW, mask_fraction=0.0)
    chain, config = a_chain(), a_config(msa, alignment_share=0)
    (drawn,) = draw_sample(chain, config, 0, np.random.default_rng(0)).passes
    (folded,) = featurize(Query("q", "q", chain.sequence, "q"), msa, 0, 1)
    same_features(replace(drawn, templates=None), folded)


def same_features(features: Features, expected: Features) -> None:
    for name, value in vars(expected).items():
        ours = getattr(features, name)
        assert torch.equal(ours, value) if value is not None else ours is None, name


def test_whole_sample_is_seen_as_when_folded():
    chain, config = a_chain(depth=50), a_config(DEEP, max_recycle=2)
    sample = whole_sample(chain, config, alone=False)
    folded = featurize(Query("q", "q", chain.sequence, "q", chain.alignment), DEEP, config.seed, 3)
    for ours, theirs in zip(sample.passes, folded, strict=True):
        same_features(ours, theirs)
    assert whole_sample(chain, config, alone=True).passes[0].msa_feat.shape == (1, 40, 49)


def test_profile_stands_where_an_alignment_counts_its_letters():
    """An alignment without gaps and deletions gives a model of one row the same features as its profile."""
    chain = a_chain(depth=50)
    tokens = chain.alignment.tokens % 20
    plain = Alignment(tokens, np.zeros(tokens.shape, np.int32))
    msa, draws = replace(ONE_ROW, mask_fraction=0.0), MsaDraws.of_generator(np.random.default_rng(0))
    kinds = MsaInput.of_alignment(plain), MsaInput.of_profile(chain.sequence, letter_frequencies(plain)[:, :20])
    counted, told = (make_features(chain.sequence, kind, sample_msa(kind, msa, draws), slice(0, 40)) for kind in kinds)
    torch.testing.assert_close(told.msa_feat, counted.msa_feat, atol=1e-6, rtol=0)


def test_hidden_letters_are_drawn_from_the_profile():
    chain = a_chain()
    profile = np.zeros((40, 20), np.float32)
    profile[np.arange(40), np.arange(40) % 20] = 1
    msa = replace(ONE_ROW, mask_fraction=1.0, uniform_prob=0.0, same_prob=0.0, profile_prob=1.0)
    sample = draw_sample(replace(chain, profile=profile), a_config(msa), 0, np.random.default_rng(0))
    assert sample.passes[0].msa_feat[0, :, :23].argmax(-1).tolist() == [k % 20 for k in range(40)]


def test_templates_are_few_and_any_of_them():
    chain, config = a_chain(templates=6), SampleConfig(templates=4)
    drawn = [[t.name for t in draw_templates(chain, config, random)] for random in generators(300)]
    assert {len(names) for names in drawn} == {0, 1, 2, 3, 4}
    assert np.mean([len(names) == 4 for names in drawn]) == pytest.approx(3 / 7, abs=0.1)
    assert {name for names in drawn for name in names} == {t.name for t in chain.templates}
    assert all(len(set(names)) == len(names) for names in drawn)
    assert all(names == sorted(names) for names in drawn), "the best comes first"
    near = replace(config, nearly_true_share=1.0)
    for first, *others in (draw_templates(chain, near, random) for random in generators(20)):
        assert first.name == chain.name and len(others) < 4
    none = replace(near, template_share=0.0)
    assert not any(draw_templates(chain, none, random) for random in generators(50))


@pytest.fixture(scope="module")
def model() -> AlphaFold:
    config = model_config("tiny")
    model = AlphaFold(config).eval()
    model.load_state_dict(read_parameters(None, config))
    return model


def test_masked_places_count_as_no_templates(model):
    chain = a_chain(16)
    (features,) = draw_sample(chain, a_config(DEEP), 0, np.random.default_rng(0)).passes
    assert features.templates.mask.shape == (4,) and not features.templates.mask.any()
    with torch.no_grad():
        masked, without = model(features), model(replace(features, templates=None))
    torch.testing.assert_close(masked.positions, without.positions, atol=1e-4, rtol=0)
    torch.testing.assert_close(masked.pair, without.pair, atol=1e-4, rtol=1e-4)


def test_stacked_samples_are_what_each_is_alone(model):
    """A short and a long chain, with different numbers of MSA rows and templates."""
    chains, config = (a_chain(12, depth=9), a_chain(20, depth=60, templates=2)), a_config(DEEP, crop=16)
    samples = [draw_sample(chain, config, 1, np.random.default_rng(4)) for chain in chains]
    stacked = stack(samples)
    assert stacked.names == ("chain", "chain")
    assert stacked.labels.positions.shape == (2, 16, 37, 3) and stacked.labels.clamped.shape == (2,)
    with torch.no_grad():
        together = model(stacked.passes[-1])
        for k, sample in enumerate(samples):
            alone = model(sample.passes[-1])
            length = len(sample.passes[-1].aatype)
            torch.testing.assert_close(together.positions[k, :length], alone.positions, atol=2e-3, rtol=0)
            torch.testing.assert_close(together.lddt[k, :length], alone.lddt, atol=1e-3, rtol=1e-3)


def test_template_features_keep_to_their_places():
    chain = a_chain(templates=2)
    features = stack_templates(chain.templates, 4, slice(5, 15))
    assert features.mask.tolist() == [1, 1, 0, 0]
    assert features.aatype[:, 0].tolist() == [0, 1, 21, 21]
    assert torch.equal(features.pseudo_beta[1, :, 0], torch.arange(5.0, 15.0))


def test_clamped_share_of_samples():
    config = replace(a_config(ONE_ROW), loss=LossConfig(clamp=0.9))
    clamped = [draw_sample(a_chain(), config, 0, random).labels.clamped for random in generators(200)]
    assert np.mean(clamped) == pytest.approx(0.9, abs=0.06)
