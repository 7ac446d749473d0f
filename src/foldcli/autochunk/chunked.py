"""`autochunk`: a module with a memory budget, in the place of the module."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk.capture import capture
from foldcli.autochunk.cost import Machine, machine
from foldcli.autochunk.facts import DoesNotHold, Facts, facts
from foldcli.autochunk.graph import Graph, leaves, tensors
from foldcli.autochunk.plan import Plan
from foldcli.autochunk.rewrite import Runner, output_of
from foldcli.autochunk.search import Planner

# The import fills the table of rules.
from foldcli.autochunk import rules_ops, rules_pointwise, rules_products, rules_views  # noqa: F401, I001 # isort: skip

Choose = Callable[[Planner], Plan]


class Chunked(nn.Module):
    """A module that runs by a plan; sizes that come for the first time are planned for then."""

    def __init__(self, module: nn.Module, choose: Choose, costs: Machine | None = None) -> None:
        super().__init__()
        self.module, self.choose, self.costs = module, choose, costs
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.graphs: dict[Any, list[Graph]] = {}
        self.runners: dict[Any, Runner] = {}

    def forward(self, *args: Any) -> Any:
        key = _sizes(args)
        if key not in self.runners:
            self.runners[key] = Runner(self.choose(self.planner(*args)))
        runner, own = self.runners[key], self.own()
        values = runner.run(tensors(args), own.__getitem__)
        return output_of(runner.plan, values)

    def own(self) -> dict[str, Tensor]:
        several = {"remove_duplicate": False}
        return {**dict(self.module.named_parameters(**several)), **dict(self.module.named_buffers(**several))}

    def planner(self, *args: Any) -> Planner:
        """What finds plans for arguments of these sizes."""
        found = self._facts(args)
        given = next((x for x in tensors(args) if x.is_floating_point()), torch.zeros(()))
        costs = self.costs or machine(given.device, given.dtype)
        return Planner(found, frozenset(), costs, self.mode)

    def _facts(self, args: tuple[Any, ...]) -> Facts:
        """The graph at these sizes: one that is known where it holds, else a new one."""
        parameters = {name: self.mode.from_tensor(x) for name, x in self.own().items()}
        known = self.graphs.setdefault(_structure(args), [])
        for graph in known:
            try:
                return facts(graph, tensors(args), parameters, self.mode)
            except DoesNotHold:
                continue
        known.append(capture(self.module, args))
        return facts(known[-1], tensors(args), parameters, self.mode)


def autochunk(module: nn.Module, budget: float) -> Chunked:
    """The module, run so that it takes at most `budget` bytes beside its parameters and inputs, if it can."""
    return Chunked(module, lambda planner: planner.fit(budget) or planner.tightest())


def _sizes(args: Any) -> Any:
    return tuple(
        (tuple(x.shape), x.stride(), x.dtype, x.device) if isinstance(x, Tensor) else x for x in leaves(args)
    )


def _structure(args: Any) -> Any:
    return tuple((x.dim(), x.dtype, x.device) if isinstance(x, Tensor) else x for x in leaves(args))
