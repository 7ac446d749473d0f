"""A chunked module gives what the plain one gives, at any sizes and any budget."""

import copy
import logging
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from foldcli.autochunk.chunked import Chunked
from foldcli.autochunk.cost import DeviceRates
from foldcli.autochunk.graph import leaves, name_of, tensors
from foldcli.autochunk.plan import Plan
from foldcli.autochunk.planner import Planner
from foldcli.bench.autochunk.networks import UNet, gpt, vit
from foldcli.compose import model_config
from foldcli.model.alphafold import AlphaFold
from foldcli.model.features import ChainFeatures, Features, Recycled, TemplateFeatures

RATES = DeviceRates(3e10, 1e10, 1e10, 1e-9, 5e-6)


def at(share: float) -> Any:
    """Choose the fastest plan at this point between the least memory (0) and that of the unchunked module (1)."""

    def choose(planner: Planner) -> Plan:
        least = planner.tightest()
        return planner.fit(least.peak + share * (planner.whole().peak - least.peak)) or least

    return choose


def chunked(module: nn.Module, share: float) -> Chunked:
    return Chunked(module, at(share), RATES)


def require_equal(found: Any, expected: Any) -> None:
    pairs = list(zip(tensors(found), tensors(expected), strict=True))
    assert pairs
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * max(1.0, float(b.detach().abs().max())))


@cache
def alphafold(preset: str = "tiny") -> AlphaFold:
    torch.manual_seed(0)
    config = model_config(preset, ["model.structure.layers=1", "model.evoformer.blocks=2"])
    model = AlphaFold(config).eval().requires_grad_(False)
    for parameter in model.parameters():  # so that no output is zero
        parameter.normal_(std=0.1)
    return model


def features(i: int, s: int, e: int, t: int, complexes: bool = False) -> Features:
    def kinds(*shape: int) -> Tensor:
        return torch.randint(20, shape)

    def mask(*shape: int) -> Tensor:
        return (torch.rand(shape) < 0.9).float()

    templates = TemplateFeatures(
        torch.ones(t), kinds(t, i), 10 * torch.randn(t, i, 3), mask(t, i), mask(t, i), torch.randn(t, i, 7, 2),
        torch.randn(t, i, 7, 2), mask(t, i, 7), 10 * torch.randn(t, i, 3, 3),
    )  # fmt: skip
    chain = 1 + (torch.arange(i) > i // 2).long()
    return Features(
        kinds(i), torch.arange(i), torch.ones(i), torch.rand(i, 21 if complexes else 22), torch.rand(s, i, 49),
        mask(s, i), kinds(e, i), mask(e, i), torch.rand(e, i), torch.rand(e, i), templates if t else None,
        chains=ChainFeatures(chain, torch.ones_like(chain), chain) if complexes else None,
    )  # fmt: skip


@pytest.mark.parametrize("preset", ["tiny", "tiny_multimer"])
@settings(max_examples=2)
@given(st.integers(12, 30), st.integers(1, 9), st.integers(1, 12), st.sampled_from([0, 2]), st.floats(0, 0.3))
def test_the_whole_model_in_chunks(preset: str, i: int, s: int, e: int, t: int, share: float) -> None:
    model = alphafold(preset)
    given_features = features(i, s, e, t, model.config.complexes)
    run = chunked(model, share)
    before = Recycled(torch.randn(i, 64), torch.randn(i, i, 32), torch.randn(i, 37, 3))
    with torch.no_grad():
        require_equal(run(given_features, before), model(given_features, before))


@settings(max_examples=5)
@given(st.integers(5, 40), st.integers(3, 20), st.floats(0, 1), st.booleans())
def test_evoformer_blocks_in_chunks(i: int, s: int, share: float, extra: bool) -> None:
    trunk = alphafold().trunk
    block = (trunk.extra_msa if extra else trunk.evoformer).blocks[0]
    args = torch.randn(s, i, 32 if extra else 64), torch.randn(i, i, 32), torch.ones(s, i), torch.ones(i, i)
    if share > 0.5:
        args[2][-1, 1:] = 0
    copies = [x.clone() for x in args]
    with torch.no_grad():
        require_equal(chunked(block, share)(*args), block(*args))
    assert all(torch.equal(x, copy) for x, copy in zip(args, copies, strict=True)), "an input was written into"


def test_gradients_through_chunks() -> None:
    block = copy.deepcopy(alphafold().trunk.evoformer.blocks[0]).requires_grad_(True)
    leaves_of = torch.randn(6, 13, 64, requires_grad=True), torch.randn(13, 13, 32, requires_grad=True)
    gradients = []
    for run in (block, chunked(block, 0.1)):
        m, z = run(*leaves_of, torch.ones(6, 13), torch.ones(13, 13))
        gradients.append(torch.autograd.grad(m.square().mean() + z.square().mean(), [*leaves_of, *block.parameters()]))
    require_equal(*reversed(gradients))


@pytest.mark.parametrize(("net", "shape"), [(gpt, (1, 33, 64)), (vit, (3, 17, 64)), (UNet, (2, 3, 16, 12))])
def test_other_networks_in_chunks(net: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module, x = net(64).eval().requires_grad_(False), torch.randn(shape)
    for share in (0.0, 0.4):
        run = chunked(module, share)
        require_equal(run(x), module(x))
        assert next(iter(run.executors.values())).plan.loops()


class Random(nn.Module):
    """A random small network: each step reads one or two earlier values [i, j, c]."""

    STEPS = "linear norm softmax transpose add product flatten split cat sum relu_ row mul_ iter".split()

    def __init__(self, steps: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self.steps = steps
        self.dense = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        values = [x, self.dense(x)]
        for name, first, second in self.steps:
            a, b = values[first % len(values)], values[second % len(values)]
            values.append(getattr(self, f"_{name}")(a, b if b.shape == a.shape else a))
        return values[-1], values[len(values) // 2]

    def _linear(self, a: Tensor, b: Tensor) -> Tensor:
        return self.dense(a)

    def _norm(self, a: Tensor, b: Tensor) -> Tensor:
        return self.norm(a)

    def _softmax(self, a: Tensor, b: Tensor) -> Tensor:
        return a.softmax(0) + b

    def _transpose(self, a: Tensor, b: Tensor) -> Tensor:
        return a.transpose(0, 1)

    def _add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def _product(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("ikc,jkc->ijc", a, b) / a.shape[1]

    def _flatten(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.tanh(a.flatten(0, 1)).unflatten(0, (a.shape[0], -1))

    def _split(self, a: Tensor, b: Tensor) -> Tensor:
        first, second = a.chunk(2, -1)
        return torch.cat([second, first], -1)

    def _cat(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([a, b], 0)[: a.shape[0]]

    def _sum(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b.mean(1, keepdim=True)

    def _relu_(self, a: Tensor, b: Tensor) -> Tensor:
        return (a * 2).relu_()

    def _mul_(self, a: Tensor, b: Tensor) -> Tensor:
        c = a + b
        c[0].mul_(0.5)
        return c

    def _iter(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([row * len(b) for row in a]) / b.numel()

    def _row(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b[0]


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from(Random.STEPS), st.integers(0, 20), st.integers(0, 20)), min_size=2, max_size=12),
    st.integers(2, 9), st.sampled_from([0.0, 0.3]),
)  # fmt: skip
def test_random_graphs_in_chunks(steps: list[tuple[str, int, int]], i: int, share: float) -> None:
    module, x = Random(steps).requires_grad_(False), torch.randn(i, i, 4)
    require_equal(chunked(module, share)(x), module(x))


def test_one_capture_serves_every_length() -> None:
    block = alphafold().trunk.evoformer.blocks[0]
    run = chunked(block, 0.2)
    for i, s in ((11, 4), (23, 7)):
        args = torch.randn(s, i, 64), torch.randn(i, i, 32), torch.ones(s, i), torch.ones(i, i)
        with torch.no_grad():
            require_equal(run(*args), block(*args))
    (graphs,) = run.graphs.values()
    assert len(graphs) == 1 and len(run.executors) == 2


def test_only_what_draws_random_numbers_is_kept_in_order() -> None:
    class Draws(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.normalize(x, dim=-1) + torch.randn_like(x) + torch.empty_like(x).normal_()

    calls = chunked(Draws(), 1.0).planner(torch.randn(6, 3)).shaped.graph.calls
    assert {name_of(call.function) for call in calls if call.pinned} == {"randn_like", "normal_"}


def test_control_flow_by_length_is_captured_again() -> None:
    class Either(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = torch.tanh(x)
            return x.sum(-1) if x.shape[0] > 8 else sum(x.unbind(0)) * 2

    run = chunked(Either(), 1.0)
    for length in (4, 6, 9, 12, 5):
        x = torch.randn(length, 3)
        require_equal(run(x), Either()(x))
    assert not [leaf for leaf in leaves(tuple(run.graphs)) if isinstance(leaf, Tensor)]


def test_a_graph_that_does_not_hold_is_captured_again_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    class Padded(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            missing = len(y) - len(x)
            return 2 * (F.pad(x, (0, 0, 0, missing)) if missing else x) + y

    run = chunked(Padded(), 1.0)
    for length in (6, 7):
        x, y = torch.randn(length, 4), torch.randn(-(-length // 3) * 3, 4)
        require_equal(run(x, y), Padded()(x, y))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_equal_modules_are_planned_once_for_each_shape_and_key() -> None:
    planned: list[Planner] = []

    def choose(planner: Planner) -> Plan:
        planned.append(planner)
        return planner.tightest()

    first = Chunked(gpt(), choose, RATES)
    second = Chunked(gpt(), choose, RATES, like=first)
    for key, length, count in ((1, 8, 1), (1, 8, 1), (1, 9, 2), (2, 8, 3)):
        x = torch.randn(1, length, 64)
        for run in (first, second):
            run.use(choose, key)
            require_equal(run(x), run.module(x))
        assert len(planned) == count
    assert sum(map(len, first.graphs.values())) == 1
