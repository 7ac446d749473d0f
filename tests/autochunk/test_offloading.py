"""Values that rest wait in host memory, where a plan may take some."""

import pytest
import torch
from torch import Tensor, nn

from foldcli.autochunk.chunked import Chunked
from foldcli.autochunk.graph import name_of
from foldcli.autochunk.host_memory import fetch, park
from foldcli.autochunk.plan import Plan, Strips
from foldcli.autochunk.planner import Planner
from tests.autochunk.test_equality import RATES, alphafold, require_equal

HOST = 1e9


def block_and_inputs(n: int = 64) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    return alphafold().trunk.evoformer.blocks[0], (
        torch.randn(24, n, 64), torch.randn(n, n, 32), torch.ones(24, n), torch.ones(n, n)
    )  # fmt: skip


def wrapped(module: nn.Module, host: float) -> Chunked:
    return Chunked(module, Planner.tightest, RATES, donated=lambda m, z, *_: [m, z], host=host)


def calls(plan: Plan) -> list[str]:
    return [name_of(call.function) for call in plan.program.calls]


def test_the_msa_waits_while_pairs_are_updated() -> None:
    module, inputs = block_and_inputs()
    kept, parked = wrapped(module, 0.0).plan(*inputs), wrapped(module, HOST).plan(*inputs)
    m, z = (x.nbytes for x in inputs[:2])
    assert parked.peak < kept.peak - 0.15 * z and "park" not in calls(kept)
    assert calls(parked).count("park") == calls(parked).count("fetch") > 0
    strips = [step for step in parked.steps if isinstance(step, Strips)]
    assert strips and all(step.on_host for step in strips)
    assert m < z


def test_results_are_the_same() -> None:
    module, inputs = block_and_inputs()
    run = wrapped(module, HOST)
    with torch.no_grad():
        expected = module(*inputs)
        require_equal(run(*(x.clone() for x in inputs)), expected)


@pytest.mark.parametrize("host", [0.0, 1000.0])
def test_no_more_is_parked_than_there_is_room_for(host: float) -> None:
    module, inputs = block_and_inputs()
    assert "park" not in calls(wrapped(module, host).plan(*inputs))


def test_what_is_parked_comes_back() -> None:
    x = torch.randn(3, 4, 5).transpose(0, 1)
    host = park(x)
    x_before = x.clone()
    x.zero_()
    found = fetch(host, torch.device("cpu"))
    assert torch.equal(found, x_before) and found.data_ptr() != host.data_ptr()
