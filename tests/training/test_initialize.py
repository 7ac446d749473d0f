"""Initialisation: what an untrained model must and must not do."""

import torch

from foldcli.compose import model_config
from foldcli.model.alphafold import AlphaFold
from foldcli.training.initialize import initialize


def test_residual_updates_start_as_zero_and_gates_open() -> None:
    model = AlphaFold(model_config("tiny")).eval()
    initialize(model, seed=1)
    z = torch.randn(6, 6, 32)
    mask = torch.ones(6, 6)
    block = model.trunk.evoformer.blocks[0]
    same_m, same_z = block(m := torch.randn(4, 6, 64), z, torch.ones(4, 6), mask)
    assert torch.equal(same_m, m) and torch.equal(same_z, z)
    q, _, _, gate = block.row.attention.packed.weight.chunk(4)
    assert q.std() > 0.1 and not gate.any() and bool((block.row.attention.gate_bias == 1).all())
    assert bool((block.outgoing.operands.bias == torch.tensor([0.0, 1.0]).repeat_interleave(64)).all())


def test_the_seed_decides_all_of_it() -> None:
    drawn = []
    for seed in (3, 3, 4):
        initialize(model := AlphaFold(model_config("tiny")), seed)
        drawn.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    spread = model.trunk.template_pairs.embed.weight.std() * 88**0.5  # variance 1 / fan-in, in spite of the truncation
    assert 0.95 < spread < 1.05
