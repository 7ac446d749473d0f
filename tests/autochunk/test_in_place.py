"""What a plan overwrites, frees early or makes twice, so that less is alive at once."""

import pytest
import torch
from torch import Tensor, nn

from foldcli.autochunk.chunked import Chunked
from foldcli.autochunk.region_selection import Planner
from tests.autochunk.measure import measured_peak
from tests.autochunk.test_equality import RATES, require_equal

N, C = 48, 32


class Residual(nn.Module):
    """Adds to x what is computed from it; or, rolled, takes it whole twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(C, C), nn.Linear(C, C)

    def forward(self, x: Tensor, rolled: bool) -> Tensor:
        if rolled:  # no chunk passes these
            return x.roll(1, 0).roll(1, 1)
        x = x + self.first(x).relu()
        return x + self.second(x).relu()


@pytest.mark.parametrize("rolled", [False, True])
def test_a_donated_input_takes_no_memory_once_it_is_dead(rolled: bool) -> None:
    module, x = Residual().requires_grad_(False), torch.randn(N, N, C)
    kept = Chunked(module, Planner.tightest, RATES)
    given = Chunked(module, Planner.tightest, RATES, donated=lambda x, _: [x])
    own: list[Tensor] = []

    def run() -> Tensor:
        own.append(x.clone())
        return given(own[0], rolled)

    with torch.no_grad():
        expected = module(x, rolled)
        require_equal(kept(x, rolled), expected)
        found, peak = measured_peak(run)
    require_equal(found, expected)
    assert own[0].untyped_storage().nbytes() == 0 if rolled else own[0].data_ptr() == found.data_ptr()
    predicted = given.plan(x, rolled).peak
    assert 0.9 * peak < predicted < 1.1 * peak and predicted < 0.7 * (kept.plan(x, rolled).peak + x.nbytes)


class Widened(nn.Module):
    """Several readers of one half-precision value in float32; the layers are blocks that share weights."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(C), nn.Linear(C, 1)
        self.layers = nn.ModuleList(Reader() for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        wide = x.float()
        normed, s = self.norm(wide), x.new_zeros(len(x), dtype=torch.float32)
        for layer in self.layers:
            s = s + layer(normed, s)
        return s, self.layer(wide).squeeze(-1)


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Linear(C, 1)

    def forward(self, z: Tensor, s: Tensor) -> Tensor:
        return ((self.bias(z).squeeze(-1) + s).softmax(-1).unsqueeze(-1) * z).sum((-1, -2))


def test_a_widened_value_is_never_there_whole() -> None:
    torch.manual_seed(0)
    module, x = Widened().requires_grad_(False), torch.randn(N, N, C).bfloat16()
    run = Chunked(module, Planner.tightest, RATES)
    with torch.no_grad():
        found, peak = measured_peak(lambda: run(x))
        require_equal(found, module(x))
    assert peak < x.nbytes < module.norm(x.float()).nbytes
    plan = run.plan(x)
    assert 0.9 < plan.peak / peak < 1.1
    first, second = plan.blocks.values()
    assert first is second or first.program.shaped.graph.calls == second.program.shaped.graph.calls
