"""Every chunk region that is found gives the same results, in chunks of one step and of several."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk.capture import FakeParameters, capture, fake_tensors, named_tensors
from foldcli.autochunk.executor import Executor, output_of
from foldcli.autochunk.graph import tensors
from foldcli.autochunk.liveness import Program
from foldcli.autochunk.plan import Loop, Plan, Single
from foldcli.autochunk.region_cost import RegionCost
from foldcli.autochunk.region_search import Region, candidate_regions
from foldcli.autochunk.shape_prop import propagate_shapes
from tests.autochunk.test_equality import RATES, Random, require_equal

MODE = FakeTensorMode(allow_non_fake_inputs=True)


def program(module: nn.Module, x: Tensor) -> Program:
    blank = fake_tensors((x,), MODE)
    parameter = FakeParameters(module, MODE, x.device)
    return Program(propagate_shapes(capture(module, blank, parameter), tensors(blank), parameter, MODE), frozenset())


def run_with(module: nn.Module, found: Program, region: Region, steps: int, x: Tensor) -> object:
    rest = [Single(index) for index in range(len(found.calls))]
    loop = Loop(region, steps, RegionCost(found, RATES, MODE).hoisted(region))
    plan = Plan(found, (*rest[: region.start], loop, *rest[region.stop :]), {}, 0, 0, 0)
    return output_of(plan, Executor(plan).run([x], named_tensors(module).__getitem__))


def require_all_equal(module: nn.Module, x: Tensor) -> list[Region]:
    found = program(module, x)
    every = [region for stop in range(1, len(found.calls) + 1) for region in candidate_regions(found, stop)]
    expected = module(x)
    for region in every:
        for steps in {1, (region.length + 1) // 2}:
            require_equal(run_with(module, found, region, steps, x), expected)
    return every


@settings(max_examples=12)
@given(
    st.lists(st.tuples(st.sampled_from(Random.STEPS), st.integers(0, 20), st.integers(0, 20)), min_size=2, max_size=8),
    st.integers(2, 5),
)
def test_regions_of_random_graphs(steps: list[tuple[str, int, int]], i: int) -> None:
    require_all_equal(Random(steps).requires_grad_(False), torch.randn(i, i, 4))


class Reads(nn.Module):
    """Adds to a value something computed from it, which decides whether the sum may overwrite the value."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        a = x * 2
        if self.way == "turned":  # reads parts of a that earlier chunks have overwritten
            return a + torch.tanh(a.transpose(0, 1))
        if self.way == "whole":
            return a + a @ a
        if self.way == "later":
            b = a + torch.tanh(a)
            return b * a.amax(0)
        if self.way == "viewed":
            first = a[0]
            return a + torch.tanh(a) * first
        return a + torch.tanh(a)


@pytest.mark.parametrize("way", ["turned", "whole", "later", "viewed", "alone"])
def test_only_memory_that_is_read_no_more_is_overwritten(way: str) -> None:
    found = require_all_equal(Reads(way), torch.randn(6, 6))
    assert any(region.in_place for region in found)
