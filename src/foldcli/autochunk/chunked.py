"""`autochunk`: a module with a memory budget, in the place of the module."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk import rules_ops, rules_pointwise, rules_products, rules_views  # noqa: F401 - fill the table
from foldcli.autochunk.capture import capture, ghosts, own_tensors
from foldcli.autochunk.cost import Machine, machine
from foldcli.autochunk.facts import DoesNotHold, Facts, facts
from foldcli.autochunk.graph import Graph, leaves, tensors
from foldcli.autochunk.plan import Plan
from foldcli.autochunk.rewrite import Runner, output_of
from foldcli.autochunk.search import Planner

Choose = Callable[[Planner], Plan]
# Plans that are kept; the oldest goes first.
MOST = 32


class Chunked(nn.Module):
    """A module that runs by a plan; sizes that come for the first time are planned for then.

    choose: takes the plan from what finds plans; may raise. occasion: what the choice depends on beside sizes. costs:
    of the machine, measured where none are given. like: a module of the same graph, with which plans are shared.
    """

    def __init__(
        self, module: nn.Module, choose: Choose, costs: Machine | None = None, like: "Chunked | None" = None
    ) -> None:
        super().__init__()
        self.module, self.choose, self.costs = module, choose, costs
        self.occasion: Any = None
        self.mode: FakeTensorMode = like.mode if like else FakeTensorMode(allow_non_fake_inputs=True)
        self.graphs: dict[Any, list[Graph]] = like.graphs if like else {}
        self.runners: dict[Any, Runner] = like.runners if like else {}

    def forward(self, *args: Any) -> Any:
        runner = self._runner(args)
        values = runner.run(tensors(args), own_tensors(self.module).__getitem__)
        return output_of(runner.plan, values)

    def plan(self, *args: Any) -> Plan:
        """The plan for arguments of these sizes, which may be without memory."""
        return self._runner(args).plan

    def _runner(self, args: tuple[Any, ...]) -> Runner:
        key = self.occasion, *map(_layout, leaves(args))
        if key not in self.runners:
            self.runners[key] = Runner(self.choose(self.planner(*args)))
        while len(self.runners) > MOST:
            self.runners.pop(next(iter(self.runners)))
        return self.runners[key]

    def planner(self, *args: Any) -> Planner:
        """What finds plans for arguments of these sizes."""
        given = tensors(args)
        dtype = next((tensor.dtype for tensor in own_tensors(self.module).values()), torch.float32)
        costs = self.costs or machine(given[0].device, dtype)
        return Planner(self._facts(ghosts(args, self.mode)), frozenset(), costs, self.mode)

    def _facts(self, args: tuple[Any, ...]) -> Facts:
        """The graph at these sizes: one that is known where it holds, else a new one."""
        given = tensors(args)
        parameters = ghosts(own_tensors(self.module), self.mode, given[0].device)
        known = self.graphs.setdefault(tuple(_kind(leaf) for leaf in leaves(args)), [])
        for graph in known:
            try:
                return facts(graph, given, parameters, self.mode)
            except DoesNotHold:
                continue
        known.append(capture(self.module, args, self.mode))
        return facts(known[-1], given, parameters, self.mode)


def autochunk(module: nn.Module, budget: float) -> Chunked:
    """The module, run so that it takes at most `budget` bytes beside its parameters and inputs, if it can."""
    return Chunked(module, lambda planner: planner.fit(budget) or planner.tightest())


def _layout(leaf: Any) -> Any:
    return (*_kind(leaf), tuple(leaf.shape), leaf.stride()) if isinstance(leaf, Tensor) else leaf


def _kind(leaf: Any) -> Any:
    return (leaf.dim(), leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf
