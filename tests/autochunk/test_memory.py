"""Plans' predicted peaks are close to those measured, and low."""

from typing import Any

import pytest
import torch

from foldcli.autochunk import cost, known_calls
from foldcli.autochunk.capture import named_tensors
from foldcli.autochunk.chunked import Chunked
from foldcli.autochunk.cost import DeviceRates, calibrate, device_rates
from foldcli.autochunk.executor import Executor
from foldcli.autochunk.planner import Planner
from foldcli.bench.autochunk.networks import UNet, gpt, vit
from foldcli.compose import model_config
from foldcli.model.evoformer import EvoformerBlock
from foldcli.model.msa import MsaColumnAttention
from foldcli.ops import attention, parts
from tests.autochunk.measure import measured_peak

RATES = DeviceRates(3e10, 1e10, 1e10, 1e-9, 5e-6)


def peaks(module: Any, *args: torch.Tensor, shares: tuple[float, ...]) -> list[tuple[float, int]]:
    """Predicted and measured peaks of plans with these shares of the unchunked peak as budget; 0 for the least."""
    run = Chunked(module.eval().requires_grad_(False), lambda planner: planner.tightest(), RATES)
    planner, own = run.planner(*args), named_tensors(module).__getitem__
    whole = planner.whole()
    plans = [planner.fit(share * whole.peak) if share else planner.tightest() for share in shares]
    assert all(plan is not None for plan in plans)
    return [
        (plan.peak, measured_peak(lambda plan=plan: Executor(plan).run(list(args), own))[1])
        for plan in plans if plan is not None
    ]  # fmt: skip


def test_peaks_of_an_evoformer_block_are_predicted() -> None:
    config = model_config("model_1_ptm")
    column = MsaColumnAttention(config.evoformer.c_m, config.evoformer.msa_heads)
    block = EvoformerBlock(config.evoformer, config.c_z, column)
    args = torch.randn(24, 64, 256), torch.randn(64, 64, 128), torch.ones(24, 64), torch.ones(64, 64)
    found = peaks(block, *args, shares=(1.0, 0.5, 0.3))
    assert all(0.9 < predicted / measured < 1.1 for predicted, measured in found), found
    assert found[-1][1] < 0.31 * found[0][1]


@pytest.mark.parametrize(("net", "shape"), [(gpt, (1, 768, 128)), (vit, (2, 400, 128)), (UNet, (1, 3, 64, 64))])
def test_other_networks_take_sixty_per_cent_less(net: Any, shape: tuple[int, ...]) -> None:
    found = peaks(net(shape[2] if net is not UNet else 16), torch.randn(shape), shares=(1.0, 0.36))
    assert all(0.9 < predicted / measured < 1.1 for predicted, measured in found), found
    assert found[1][1] < 0.4 * found[0][1]


def evoformer_block() -> tuple[EvoformerBlock, list[torch.Tensor]]:
    """A block in bfloat16, whose attention the CPU does in parts, and its arguments."""
    config = model_config("model_1_ptm")
    block = EvoformerBlock(config.evoformer, config.c_z, MsaColumnAttention(256, 8)).bfloat16().eval()
    return block, [torch.empty(n, dtype=torch.bfloat16) for n in ((24, 64, 256), (64, 64, 128), (24, 64), (64, 64))]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("bytes_a_part", [1, 7 * 8 * 64**2 * 2])  # one row in a part; seven, which leaves a remainder
def test_parts_that_are_alike_count_as_if_each_was_run(bytes_a_part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MAX_LOGIT_BYTES", bytes_a_part)
    block, args = evoformer_block()
    plan = Chunked(block, Planner.tightest, RATES).planner(*args).whole()
    monkeypatch.setattr(parts, "is_fake", lambda x: False)
    each = Chunked(block, Planner.tightest, RATES).planner(*args).whole()
    assert (plan.peak, plan.program.shaped.footprints) == (each.peak, each.program.shaped.footprints)


@pytest.mark.usefixtures("unchecked_shapes")
def test_calls_that_do_the_same_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 24 parts of attention one is run, and what equal calls take is known from the first of them."""
    monkeypatch.setattr(attention, "MAX_LOGIT_BYTES", 1)
    block, args = evoformer_block()
    measure, runs = known_calls.measure_footprint, []
    monkeypatch.setattr(known_calls, "measure_footprint", lambda *args: runs.append(1) or measure(*args))
    run = Chunked(block, Planner.tightest, RATES)
    planner, first = run.planner(*args), len(runs)
    run.planner(*args)
    assert len(runs) - first == 2  # of both triangle operands, which share memory; capture has made all other calls
    planner.scheduled()
    assert len(runs) - first < first / 2  # calls that were split


@pytest.mark.usefixtures("unchecked_shapes")
def test_the_least_budget_is_the_least_that_a_plan_fits_in() -> None:
    block, args = evoformer_block()
    planner = Chunked(block, Planner.tightest, RATES).planner(*args)
    least = planner.least()
    assert least < 0.4 * planner.whole().peak
    plan = planner.fit(least)
    assert plan is not None and plan.peak <= least
    assert planner.fit(least - 1) is None


def test_a_device_is_calibrated_once(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDCLI_HOME", str(tmp_path))
    cpu = torch.device("cpu")
    first = device_rates(cpu, torch.float32)
    monkeypatch.setattr("foldcli.autochunk.cost.calibrate", lambda *_: pytest.fail("calibrated again"))
    assert device_rates(cpu, torch.float32) == first
    assert calibrate(cpu, torch.float32).rate > 1e8


@pytest.mark.parametrize(("free", "side"), [(80 << 30, 8192), (22 << 30, 4096), (1 << 30, 1024)])
def test_a_gpu_multiplies_large_matrices_that_fit(free: int, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
    assert cost._side(torch.device("cuda"), torch.bfloat16) == side
    assert cost._side(torch.device("cpu"), torch.bfloat16) == cost.SIDE


def test_a_gpu_is_not_waited_for_after_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    calls: list[int] = []
    cost._seconds(lambda: calls.append(len(waits)), torch.device("cuda"))
    assert all(calls.count(wait) >= 8 for wait in set(calls[1:]))  # the first warms up
    assert len(waits) > max(calls)
