"""Turn a chain into a training sample: crop, MSA, templates, labels (Suppl. Sec. 1.2.3 and 1.2.6 to 1.2.8).

As in AlphaFold, MSA rows are chosen, masked and clustered on the whole chain, then cropped. Cluster profiles are
counted within the crop only, which gives the same numbers in less time.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from foldcli.config import ModelConfig, SampleConfig, TrainConfig
from foldcli.data.chain import Chain, Template
from foldcli.data.features.featurize import make_features
from foldcli.data.features.msa import MsaInput, SampledMsa, choose_msa_input, sample_msa
from foldcli.data.features.msa_sampling import MsaDraws
from foldcli.data.features.templates import stack_templates, start_frames
from foldcli.data.training.block_deletion import delete_blocks
from foldcli.data.training.sample import Labels, Sample
from foldcli.data.training.template_noise import nearly_true, weaken
from foldcli.model.features import Features


def draw_sample(chain: Chain, config: TrainConfig, recycles: int, random: np.random.Generator) -> Sample:
    """Crop a chain at random and make `recycles` + 1 passes, with MSA rows and masks drawn anew for each.

    MSA blocks are deleted once for all passes. A model with templates gets `config.sample.templates` slots, masked
    where there are fewer, so that samples can be stacked.
    """
    clamped = bool(random.random() < config.loss.clamp)
    window = draw_crop(len(chain.sequence), config.sample.crop, clamped, random)
    msa_input = draw_msa_input(chain, config, random)
    shown = draw_templates(chain, config.sample, random) if config.model.template is not None else []
    drawn = [sample_msa(msa_input, config.model.msa, MsaDraws.of_generator(random)) for _ in range(recycles + 1)]
    passes = _passes(chain, msa_input, drawn, window, shown, config.sample.templates, config.model)
    return Sample((chain.name,), passes, _labels(chain, drawn[-1], window, clamped))


def whole_sample(chain: Chain, config: TrainConfig, alone: bool) -> Sample:
    """Make a sample of a whole chain with all passes, featurised as for folding: the same at each call.

    alone: the sequence without homologs and templates; else with its first templates.
    """
    window = slice(0, len(chain.sequence))
    if alone:
        chain = replace(chain, alignment=None, profile=None, templates=())
    msa_input = choose_msa_input(chain.sequence, chain.alignment, chain.profile, config.model.msa)
    shown = chain.templates[: config.sample.templates] if config.model.template is not None else ()
    count = config.sample.max_recycle + 1
    draws = (MsaDraws.of_pass(config.seed, index, count) for index in range(count))
    drawn = [sample_msa(msa_input, config.model.msa, draw) for draw in draws]
    passes = _passes(chain, msa_input, drawn, window, shown, len(shown), config.model)
    return Sample((chain.name,), passes, _labels(chain, drawn[-1], window, clamped=True))


def draw_crop(length: int, crop: int, clamped: bool, random: np.random.Generator) -> slice:
    """Draw a window of `crop` residues, or take all of a shorter chain (Suppl. Sec. 1.2.8).

    Where backbone FAPE is not clamped, windows near the N-terminus are more likely, as published.
    """
    last = max(length - crop, 0)
    if not clamped:
        last -= int(random.integers(last + 1))
    start = int(random.integers(last + 1))
    return slice(start, min(start + crop, length))


def draw_msa_input(chain: Chain, config: TrainConfig, random: np.random.Generator) -> MsaInput:
    """Draw the MSA input of a sample: the chain's alignment less some blocks or its profile, or its sequence alone."""
    sample = config.sample
    if random.random() >= sample.alignment_share:
        return MsaInput.of_sequence(chain.sequence)
    alignment = chain.alignment
    if alignment is not None:
        alignment = delete_blocks(alignment, sample.deleted_blocks, sample.deleted_share, random)
    return choose_msa_input(chain.sequence, alignment, chain.profile, config.model.msa)


def draw_templates(chain: Chain, config: SampleConfig, random: np.random.Generator) -> list[Template]:
    """Draw min(Uniform[0, n], `config.templates`) of a chain's n templates (Suppl. Sec. 1.2.3), in their order.

    What AlphaFold does not do: a share of them is made worse by `weaken`, and a share of samples has a template that
    is nearly the truth in front of them.
    """
    templates = chain.templates
    if random.random() >= config.template_share:
        return []
    count = min(int(random.integers(len(templates) + 1)), config.templates)
    shown = [templates[k] for k in sorted(random.permutation(len(templates))[:count])]
    if config.weakened_share:
        shown = [weaken(one, random) if random.random() < config.weakened_share else one for one in shown]
    if config.nearly_true_share and random.random() < config.nearly_true_share:
        shown = [nearly_true(chain, random), *shown[: config.templates - 1]]
    return shown


def _passes(
    chain: Chain,
    msa_input: MsaInput,
    drawn: Sequence[SampledMsa],
    window: slice,
    shown: Sequence[Template],
    places: int,
    config: ModelConfig,
) -> tuple[Features, ...]:
    """The features of each pass; templates have `places` slots."""
    described = (make_features(chain.sequence, msa_input, rows, window) for rows in drawn)
    templates = stack_templates(shown, places, window) if config.template is not None and places else None
    start = start_frames(shown, window) if config.structure.start_at_template else None
    return tuple(replace(features, templates=templates, start=start) for features in described)


def _labels(chain: Chain, rows: SampledMsa, window: slice, clamped: bool) -> Labels:
    return Labels(
        positions=torch.tensor(chain.positions[window]),
        mask=torch.from_numpy(chain.mask[window].astype(np.float32)),
        true_msa=torch.from_numpy(rows.true_msa[:, window].astype(np.int64)),
        bert_mask=torch.from_numpy(rows.bert_mask[:, window].astype(np.float32)),
        resolution=torch.tensor(chain.resolution, dtype=torch.float32),
        clamped=torch.tensor(float(clamped)),
    )
