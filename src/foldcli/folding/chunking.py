"""Models wrapped by AutoChunk so that a fold keeps to the free memory or to the user's budget."""

import math
from collections.abc import Mapping
from dataclasses import astuple, replace
from functools import partial

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk import Chunked
from foldcli.autochunk.cost import DeviceRates, device_rates
from foldcli.autochunk.graph import tensors
from foldcli.autochunk.plan import Plan
from foldcli.autochunk.planner import Planner
from foldcli.byte_units import amount
from foldcli.config import FoldConfig, ModelConfig
from foldcli.errors import FoldcliError
from foldcli.folding.memory import savings
from foldcli.folding.norm_in_layers import norm_in_layers
from foldcli.model.alphafold import FoldingModel
from foldcli.model.features import ChainFeatures, Features, Recycled, TemplateFeatures
from foldcli.model.structure import StructureLayer
from foldcli.parallel.mesh import RankGroup
from foldcli.search.templates import MAX_TEMPLATES
from foldcli.system_memory import available_bytes

# Part of the free memory that is planned for: the allocator rounds up, and other processes need some.
FREE_SHARE = 0.9
# Part of the user's budget that is planned for: libraries repack matrices, and freed blocks leave gaps.
BUDGET_SHARE = 0.96
# Part of either that a retry plans for, after memory ran out.
RETRY_SHARE = 0.7


def blank_inputs(
    config: ModelConfig,
    i: int,
    depth: int,
    device: torch.device,
    precision: torch.dtype,
    templates: int = 0,
    cyclic: bool = False,
    ranks: int = 1,
) -> tuple[Features, Recycled]:
    """Fake inputs of a pass over i residues and an alignment of `depth` rows, with the previous pass's results.

    templates: how many are shown, if the model takes any; those of a complex share as many slots as one chain may have.
    cyclic: whether the chain is a ring; ranks: how many share the pass, and so the rows of the recycled pairs.
    """
    c_m, s, t = config.evoformer.c_m, min(depth, config.msa.max_clusters), templates
    if config.complexes and templates:
        t = MAX_TEMPLATES
    e = min(max(depth - s, 1), config.msa.max_extra)

    def real(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device=device)

    def whole(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device=device, dtype=torch.int64)

    with FakeTensorMode():
        shown = TemplateFeatures(
            real(t), whole(t, i), real(t, i, 3), real(t, i), real(t, i), real(t, i, 7, 2), real(t, i, 7, 2),
            real(t, i, 7), real(t, i, 3, 3) if config.complexes else None,
        )  # fmt: skip
        features = Features(
            whole(i), whole(i), real(i), real(i, config.c_target), real(s, i, 49), real(s, i), whole(e, i), real(e, i),
            real(e, i), real(e, i), shown if t and config.template else None, whole(i, i) if cyclic else None,
            real(i, 7) if t and config.template and config.structure.start_at_template else None,
            ChainFeatures(whole(i), whole(i), whole(i)) if config.complexes else None,
        )  # fmt: skip
        rows = -(-i // ranks)
        pair = torch.empty(rows, i if ranks == 1 else rows * ranks, config.c_z, device=device, dtype=precision)
        return features, Recycled(real(i, c_m), pair, real(i, 37, 3))


def held_bytes(inputs: tuple[Features, Recycled]) -> int:
    """Bytes of a pass's inputs, which stay, and of the next pass's features, which may be made already."""
    held, overwritten = tensors((inputs, inputs[0])), overwritable(*inputs)
    return sum(x.nbytes for x in held) - sum(x.nbytes for x in overwritten)


def overwritable(_: Features, previous: Recycled | None) -> list[torch.Tensor]:
    """What a pass may overwrite: the pairs that it recycles."""
    return [previous.pair] if previous else []


def chunked(model: FoldingModel, host: float, like: Chunked | None = None, rates: DeviceRates | None = None) -> Chunked:
    """A model wrapped by AutoChunk, which may overwrite the pairs that it recycles.

    host: bytes of host memory that values may wait in; like: a wrapper of a model that differs only in its weights;
    rates: the device's, calibrated if None.
    """
    return Chunked(norm_in_layers(model), Planner.tightest, rates, like, (StructureLayer,), overwritable, host)


def plain(model: FoldingModel | Chunked) -> FoldingModel:
    """The model itself, where AutoChunk runs it."""
    return model.module if isinstance(model, Chunked) else model  # type: ignore[return-value]


class ChunkedModels:
    """The run's models, each wrapped by AutoChunk when first needed; captures and plans are kept for later jobs."""

    def __init__(self, config: FoldConfig, device: torch.device, precision: torch.dtype) -> None:
        self.config, self.device, self.precision = config, device, precision
        self.wrapped: dict[tuple[str, RankGroup], Chunked] = {}
        self.first_of_kind: dict[tuple[ModelConfig, RankGroup], Chunked] = {}

    def fit(
        self,
        models: Mapping[str, FoldingModel],
        length: int,
        depth: int,
        share: float,
        templates: int,
        group: RankGroup,
        sharing: int,
    ) -> Mapping[str, FoldingModel]:
        """The models, planned to fold this length, depth and templates in the free memory or in the user's budget.

        share: part of that memory to plan for. group: the ranks that share the job, on all of which the least of their
        budgets counts; sharing: ranks in one memory. FoldcliError: no plan fits, on this rank or another.
        """
        wrapped = {name: self._wrapped(name, model, group) for name, model in models.items()}
        sizes = length, depth, self.device, self.precision, templates, self.config.cyclic, group.size
        inputs = {name: blank_inputs(model.config, *sizes) for name, model in models.items()}
        for name, model in wrapped.items():
            if not model.graphs:
                model.planner(*inputs[name])  # capture takes memory too, so before free memory is read
        budget = group.min(int(rounded(share * pass_budget(self.config, self.device, sharing))))
        lack = None
        try:
            for name, model in wrapped.items():
                model.use(partial(self._fastest, budget, held_bytes(inputs[name]), depth, templates), budget)
                model.plan(*inputs[name])
        except FoldcliError as error:
            lack = error
        if group.any(lack is not None):
            raise lack or FoldcliError("another rank has no plan that fits; fold a shorter sequence")
        return wrapped  # type: ignore[return-value]

    def _wrapped(self, name: str, model: FoldingModel, group: RankGroup) -> Chunked:
        """The wrapper of a model; models that differ only in their weights share captures and plans.

        Ranks of a group plan by the first one's rates, so that all choose alike.
        """
        if (name, group) not in self.wrapped:
            kind = replace(model.config, name=""), group
            rates = DeviceRates(*group.from_first(astuple(device_rates(self.device, self.precision))))
            self.wrapped[name, group] = chunked(model, self.config.offload_bytes, self.first_of_kind.get(kind), rates)
            self.first_of_kind.setdefault(kind, self.wrapped[name, group])
        return self.wrapped[name, group]

    def _fastest(self, budget: float, held: int, depth: int, templates: int, planner: Planner) -> Plan:
        """The fastest plan within a budget of bytes, of which the inputs hold some."""
        plan = planner.fit(budget - held)
        if plan is None:
            least = planner.least() + held
            raise FoldcliError(
                f"no plan fits: at least {amount(least)} are needed beside the parameters, and {amount(budget)} may be "
                f"taken; {savings(self.precision.itemsize, depth, templates)}"
            )
        return plan


def pass_budget(config: FoldConfig, device: torch.device, sharing: int = 1) -> float:
    """Bytes that a pass may take beside the parameters: a part of what is free, and no more than the user allows.

    What the process holds already, such as its libraries, is no part of it. sharing: ranks in the device's memory.
    """
    free = available_bytes(device)
    left = math.inf if free is None else FREE_SHARE * free / sharing
    return rounded(min(left, BUDGET_SHARE * config.memory_budget_bytes or math.inf))


def rounded(budget: float) -> float:
    """The budget rounded down by up to 1/32, so that small changes in free memory do not ask for a new plan."""
    if not 1 < budget < float("inf"):
        return budget
    step = 2.0 ** (math.floor(math.log2(budget)) - 5)
    return budget // step * step
