"""`autochunk` wraps a module so that each call runs by a plan that keeps to a memory budget."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk import rules_ops, rules_pointwise, rules_products, rules_views  # noqa: F401 - register rules
from foldcli.autochunk.capture import FakeParameters, capture, fake_tensors, named_tensors
from foldcli.autochunk.cost import DeviceRates, device_rates
from foldcli.autochunk.executor import Executor, output_of
from foldcli.autochunk.graph import Graph, leaves, tensors
from foldcli.autochunk.plan import Plan
from foldcli.autochunk.planner import Planner
from foldcli.autochunk.shape_prop import GuardFailed, ShapedGraph, propagate_shapes

Choose = Callable[[Planner], Plan]
Donated = Callable[..., list[Tensor]]
# Plans kept in the cache; the oldest is dropped first.
MAX_EXECUTORS = 32


class Chunked(nn.Module):
    """A module that runs by a plan; inputs of new shapes are planned for on their first call.

    choose: Planner → Plan, may raise. rates: the device's, calibrated if None. like: a wrapper of a module with the
    same graph, with which captures and plans are shared. repeated: kinds of modules that run several times, each time
    by the same plan. donated: the tensors among the arguments that nobody reads after a call, so that a plan may
    overwrite them or free their memory. host: bytes of host memory that values may wait in.
    """

    def __init__(
        self, module: nn.Module, choose: Choose, rates: DeviceRates | None = None, like: "Chunked | None" = None,
        repeated: tuple[type[nn.Module], ...] = (), donated: Donated = lambda *_: [], host: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.donated, self.host = donated, host
        self.module, self.choose, self.rates, self.repeated = module, choose, rates, repeated
        self.extra_key: Any = None
        self.fakes: dict[torch.device, FakeParameters] = {}
        self.mode: FakeTensorMode = like.mode if like else FakeTensorMode(allow_non_fake_inputs=True)
        self.graphs: dict[Any, list[Graph]] = like.graphs if like else {}
        self.executors: dict[Any, Executor] = like.executors if like else {}

    def use(self, choose: Choose, extra_key: Any) -> None:
        """Choose plans by this function from now on; extra_key: cache key of its plans, in addition to shapes."""
        self.choose, self.extra_key = choose, extra_key

    def forward(self, *args: Any) -> Any:
        executor = self._executor(args)
        values = executor.run(tensors(args), named_tensors(self.module).__getitem__)
        return output_of(executor.plan, values)

    def plan(self, *args: Any) -> Plan:
        """The plan for arguments of these shapes; fake tensors will do."""
        return self._executor(args).plan

    def _executor(self, args: tuple[Any, ...]) -> Executor:
        key = self.extra_key, *map(_layout, leaves(args))
        if key not in self.executors:
            self.executors[key] = Executor(self.choose(self.planner(*args)))
        while len(self.executors) > MAX_EXECUTORS:
            self.executors.pop(next(iter(self.executors)))
        return self.executors[key]

    def planner(self, *args: Any) -> Planner:
        """The planner for arguments of these shapes; fake tensors will do."""
        dtype = next((tensor.dtype for tensor in self.module.parameters()), torch.float32)
        fakes = fake_tensors(args, self.mode)
        given = tensors(fakes)
        rates = self.rates or device_rates(given[0].device, dtype)
        shaped = self._shaped(fakes)
        ours = {id(tensor) for tensor in self.donated(*fakes)}
        donated = frozenset(v for v, x in zip(shaped.graph.inputs, given, strict=True) if id(x) in ours)
        return Planner(shaped, donated, rates, self.mode, self.host)

    def _shaped(self, args: tuple[Any, ...]) -> ShapedGraph:
        """The graph at these shapes: a captured one whose guards hold, else a new capture."""
        given = tensors(args)
        parameter = self._parameter(given[0].device)
        known = self.graphs.setdefault(tuple(_kind(leaf) for leaf in leaves(args)), [])
        for graph in known:
            try:
                return propagate_shapes(graph, given, parameter, self.mode)
            except GuardFailed:
                continue
        known.append(capture(self.module, args, parameter, self.repeated))
        return propagate_shapes(known[-1], given, parameter, self.mode)

    def _parameter(self, device: torch.device) -> FakeParameters:
        if device not in self.fakes:
            self.fakes[device] = FakeParameters(self.module, self.mode, device)
        return self.fakes[device]


def autochunk(module: nn.Module, budget: float) -> Chunked:
    """The module wrapped to take at most `budget` bytes on top of parameters and inputs, or as little as it can."""
    return Chunked(module, lambda planner: planner.fit(budget) or planner.tightest())


def _layout(leaf: Any) -> Any:
    return (*_kind(leaf), tuple(leaf.shape), leaf.stride()) if isinstance(leaf, Tensor) else leaf


def _kind(leaf: Any) -> Any:
    return (leaf.dim(), leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf
