"""What a plan overwrites, frees early or makes twice, so that less is alive at once."""

import pytest
import torch
from torch import Tensor, nn

from foldcli.autochunk.capture import named_tensors
from foldcli.autochunk.chunked import Chunked
from foldcli.autochunk.executor import Executor, output_of
from foldcli.autochunk.liveness import Program
from foldcli.autochunk.peeling import Peel, peels
from foldcli.autochunk.plan import Plan, Strips
from foldcli.autochunk.planner import Planner
from foldcli.model.triangle import IncomingProduct, OutgoingProduct, TriangleMultiplication
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


class Triangle(nn.Module):
    """Both triangle multiplications of a block; or the pairs between them too, which then must stay."""

    def __init__(self, c: int, both: bool) -> None:
        super().__init__()
        self.outgoing = TriangleMultiplication(c, c, OutgoingProduct())
        self.incoming = TriangleMultiplication(c, c, IncomingProduct())
        self.both = both

    def forward(self, z: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        first = z + self.outgoing(z, mask)
        second = first + self.incoming(first, mask)
        return (first, second) if self.both else (second,)


def peelings(module: nn.Module, *args: Tensor) -> tuple[Program, list[Peel]]:
    run = Chunked(module, Planner.tightest, RATES, donated=lambda z, _: [z])
    program = run.planner(*args).scheduled().program
    return program, [peel for stop in range(1, len(program.calls) + 1) for peel in peels(program, stop)]


@pytest.mark.parametrize("n", [13, 20])
def test_triangle_multiplications_are_peeled_off_in_place(n: int) -> None:
    torch.manual_seed(0)
    module = Triangle(C, False).requires_grad_(False)
    z, mask = torch.randn(n, n, C), (torch.rand(n, n) < 0.8).float()
    program, found = peelings(module, z, mask)
    assert [(peel.cuts[0].dim, peel.cuts[1].dim) for peel in found] == [(0, 1), (1, 0)]
    covered = {index for peel in found for index in range(peel.start, peel.stop)}
    with torch.no_grad():
        expected = module(z, mask)
        for rows in (1, 3, 7, n):
            steps = tuple(Strips(peel, rows) for peel in found)
            plan = Plan(program, steps, {}, 0, 0, 0)
            values = Executor(plan).run([own := z.clone(), mask], named_tensors(module).__getitem__)
            require_equal(output_of(plan, values), expected)
            assert output_of(plan, values)[0].data_ptr() == own.data_ptr()
    assert covered == set(range(len(program.calls)))


def test_pairs_that_are_read_again_are_not_overwritten() -> None:
    module = Triangle(C, True).requires_grad_(False)
    _, found = peelings(module, torch.randn(12, 12, C), torch.ones(12, 12))
    assert [peel.cuts[0].dim for peel in found] == [0]


def test_peeling_takes_a_quarter_beside_the_pairs() -> None:
    torch.manual_seed(0)
    module, n = Triangle(C, False).requires_grad_(False), 128
    z, mask = torch.randn(n, n, C), torch.ones(n, n)
    # not the tightest plan: a profile of its thousands of tiles takes gigabytes
    run = Chunked(
        module, lambda planner: planner.fit(1.6 * z.nbytes) or planner.whole(), RATES, donated=lambda z, _: [z]
    )
    with torch.no_grad():
        expected = module(z, mask)
        found, peak = measured_peak(lambda: run(z, mask))
    require_equal(found, expected)
    plan = run.plan(z, mask)
    assert all(isinstance(step, Strips) for step in plan.steps)
    assert 0.96 < (plan.peak - z.nbytes) / peak < 1.04 and peak < 0.6 * z.nbytes
