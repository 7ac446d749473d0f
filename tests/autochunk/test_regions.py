"""Every region that is found, run in slices of one step and of several, leaves the results as they are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk.capture import capture, ghosts, own_tensors
from foldcli.autochunk.facts import facts
from foldcli.autochunk.graph import tensors
from foldcli.autochunk.lifetimes import Program
from foldcli.autochunk.plan import Loop, Plan, Whole
from foldcli.autochunk.regions import Region, regions
from foldcli.autochunk.rewrite import Runner, output_of
from foldcli.autochunk.slices import Slices
from tests.autochunk.test_equality import COSTS, Random, require_equal

MODE = FakeTensorMode(allow_non_fake_inputs=True)


def program(module: nn.Module, x: Tensor) -> Program:
    blank = ghosts((x,), MODE)
    parameters = ghosts(own_tensors(module), MODE)
    return Program(facts(capture(module, blank, MODE), tensors(blank), parameters, MODE), frozenset())


def run_with(module: nn.Module, found: Program, region: Region, steps: int, x: Tensor) -> object:
    rest = [Whole(index) for index in range(len(found.calls))]
    loop = Loop(region, steps, Slices(found, COSTS, MODE).before(region))
    plan = Plan(found, (*rest[: region.start], loop, *rest[region.stop :]), {}, 0, 0, 0)
    return output_of(plan, Runner(plan).run([x], own_tensors(module).__getitem__))


def require_all_equal(module: nn.Module, x: Tensor) -> list[Region]:
    found = program(module, x)
    every = [region for stop in range(1, len(found.calls) + 1) for region in regions(found, stop)]
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
    """Adds to a value what is computed from it, in a way that decides whether the sum may take its memory."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        a = x * 2
        if self.way == "turned":  # reads each slice after another has been written
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
def test_a_sum_takes_the_memory_only_of_what_nobody_reads_after(way: str) -> None:
    found = require_all_equal(Reads(way), torch.randn(6, 6))
    assert any(region.in_place for region in found)
