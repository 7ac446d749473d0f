"""An Evoformer block on several ranks: its communication volume is the formula's, its peak memory 1/N."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from foldcli.config import StackConfig
from foldcli.model.evoformer import EvoformerBlock
from foldcli.model.msa import MsaColumnAttention
from foldcli.parallel.comm_volume import ALL_GATHER, CommCounter, block_messages, block_sent
from foldcli.parallel.layouts import local_shard
from foldcli.parallel.mesh import build_mesh
from foldcli.parallel.peak_memory import peak_cpu_bytes
from foldcli.parallel.shard import shard
from tests.parallel.rank_pool import RankPool
from tests.parallel.samples import CONFIG, features, small_model

LENGTH, DEPTH = 8, 4


def one_block(config: StackConfig, c_z: int, depth: int, length: int, axial: int) -> SimpleNamespace:
    """A block on `axial` ranks, and this rank's shard of an input of ones."""
    group = build_mesh("cpu", axial).axial
    block = EvoformerBlock(config, c_z, MsaColumnAttention(config.c_m, config.msa_heads)).eval()
    m = local_shard(torch.ones(depth, length, config.c_m), -3, group).clone().requires_grad_()
    z = local_shard(torch.ones(length, length, c_z), -3, group).clone().requires_grad_()
    masks = torch.ones(depth, length), local_shard(torch.ones(length, length), -2, group)
    return SimpleNamespace(block=shard(block, group), m=m, z=z, masks=masks, group=group)


def traffic(axial: int) -> list[tuple[Counter[str], Counter[str]]]:
    """Messages and bytes that a block was seen to send, in the forward and in the backward pass."""
    case = one_block(CONFIG.evoformer, CONFIG.c_z, DEPTH, LENGTH, axial)
    with CommCounter(case.group) as forward:
        m, z = case.block(case.m, case.z, *case.masks)
    with CommCounter(case.group) as backward:
        (m.sum() + z.sum()).backward()
    assert forward.exposed > 0
    return [(counter.messages, counter.sent) for counter in (forward, backward)]


@pytest.mark.parametrize("axial", [2, 4])
def test_a_block_sends_what_the_formula_says(ranks: RankPool, axial: int) -> None:
    for seen in ranks.run(traffic, axial):
        for (messages, sent), backward in zip(seen, (False, True), strict=True):
            assert messages == block_messages(CONFIG.evoformer, LENGTH, axial, 4, backward)
            assert sent == block_sent(CONFIG.evoformer, CONFIG.c_z, DEPTH, LENGTH, axial, 4, backward)


def largest_gather() -> int:
    group = build_mesh("cpu", 4).axial
    model = shard(small_model().eval(), group)
    with CommCounter(group) as counter, torch.no_grad():
        model(features(80, DEPTH, DEPTH, 2, seed=1))
    return counter.largest[ALL_GATHER]


def test_nothing_pair_sized_is_gathered_but_heads(ranks: RankPool) -> None:
    heads = max(CONFIG.evoformer.msa_heads, CONFIG.template.heads * 2)  # two templates: two pair tensors
    assert max(ranks.run(largest_gather)) <= 80 * 80 * heads * 8


def peaks(axial: int, train: bool) -> list[int]:
    """Peak bytes of a block in each of five runs; its pairs are by far its largest tensors."""
    torch.manual_seed(0)
    case = one_block(StackConfig(c_m=16, msa_heads=2), 128, 4, 96, axial)

    def run() -> None:
        with torch.set_grad_enabled(train):
            m, z = case.block(case.m, case.z, *case.masks)
            if train:
                (m.sum() + z.sum()).backward()

    return [peak_cpu_bytes(run) for _ in range(5)]


@pytest.mark.parametrize("train", [False, True])
def test_memory_for_pairs_falls_with_the_ranks(ranks: RankPool, train: bool) -> None:
    whole = min(ranks.run(peaks, 1, train)[0])
    for axial in (2, 4):
        found = ranks.run(peaks, axial, train)
        assert max(map(min, found)) < 1.15 * whole / axial
        assert max(map(max, found)) < 1.4 * whole / axial  # by their timing, a rank may hold one message more
