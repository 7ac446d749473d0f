"""FLOPs, operators and bytes of the CPU path do not exceed the recorded counts."""

from pathlib import Path

import pytest
import torch

from foldcli.bench.cases import Case
from foldcli.bench.counts import counted, load, risen
from foldcli.bench.work import work_of

RECORDED = Path(__file__).parents[2] / "benchmarks/results/counts.json"


@pytest.mark.usefixtures("unchecked_shapes")
def test_no_module_does_more_than_recorded() -> None:
    accept = "foldcli bench counts --json benchmarks/results/counts.json accepts more"
    assert not list(risen(load(RECORDED), counted())), accept


def test_a_needless_copy_is_found() -> None:
    layer, x = torch.nn.Linear(64, 64), torch.randn(256, 64)
    copying = torch.nn.Sequential(layer, type("Copy", (torch.nn.Module,), {"forward": lambda _, y: y.clone()})())
    plain, more = ({"layer": vars(work_of(Case("layer", one, (x,), differentiable=1)))} for one in (layer, copying))
    assert {key for _, key, _, _ in risen(plain, more)} == {"calls", "traffic", "peak"}
    assert not list(risen(more, plain))


def test_arithmetic_is_torchs_own_count() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    layer, x = torch.nn.Linear(64, 32), torch.randn(256, 64)
    with FlopCounterMode(display=False) as counter:
        layer(x)
    work = work_of(Case("layer", layer, (x,), differentiable=1))
    assert work.flops == counter.get_total_flops() == pytest.approx(2 * 256 * 64 * 32)
    assert work.moved == 4 * (256 * 64 + 256 * 32 + 64 * 32 + 32)
