"""AutoChunk and DAP together: each rank runs its shard by a plan, and the output is that of one rank's plain model."""

from dataclasses import replace

import torch

from foldcli.autochunk import Chunked
from foldcli.autochunk.cost import DeviceRates
from foldcli.autochunk.planner import Planner
from foldcli.parallel.mesh import RankGroup
from foldcli.parallel.shard import gather_output, shard
from tests.parallel.rank_pool import RankPool, group_of
from tests.parallel.samples import CONFIG, features, small_model
from tests.parallel.test_shard import TOLERANCE, values

RATES = DeviceRates(1e12, 1e11, 1e10, 0.0, 1e-5)
SIZES = {"length": 43, "depth": 5, "extra": 3, "templates": 0, "seed": 3, "masked": False}
SHALLOW = replace(
    CONFIG,
    evoformer=replace(CONFIG.evoformer, blocks=1),
    extra_msa=replace(CONFIG.extra_msa, blocks=0),
    template=None,
    structure=replace(CONFIG.structure, layers=1),
)


def planned(ranks: int) -> tuple[float, list[str]] | None:
    """Largest difference of a fold by the tightest plan, and that plan in words."""
    group = group_of(ranks)
    if group is None:
        return None
    sample = features(**SIZES)  # type: ignore[arg-type]
    with torch.inference_mode():
        expected = values(small_model(config=SHALLOW).eval()(sample))
        model = Chunked(shard(small_model(config=SHALLOW).eval(), group), Planner.tightest, RATES)
        found = values(gather_output(model(sample)))
        plan = model.plan(sample)
    return max(float((found[k] - expected[k]).abs().max()) for k in expected), list(plan.describe())


def test_ranks_that_run_by_plans_give_the_output_of_one(ranks: RankPool) -> None:
    for difference, words in filter(None, ranks.run(planned, 2)):
        assert difference < TOLERANCE
        # the gathered bias is awaited between the two
        assert any("norm_linear -> gated_attention" in loop for loop in words), words


def test_all_ranks_take_the_least_budget_and_the_first_ones_rates(ranks: RankPool) -> None:
    assert ranks.run(agreed) == [(10, [0.0, 0.5])] * 4


def agreed() -> tuple[int, list[float]]:
    group = group_of(4)
    assert isinstance(group, RankGroup)
    return group.min(10 + group.rank), group.from_first([group.rank, group.rank + 0.5])
