"""Models that keep to a budget of memory by plans of AutoChunk."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk import Chunked
from foldcli.autochunk.graph import tensors
from foldcli.autochunk.plan import Plan
from foldcli.autochunk.region_selection import Planner
from foldcli.byte_units import GIB
from foldcli.config import FoldConfig, ModelConfig
from foldcli.errors import FoldcliError
from foldcli.folding.memory import available_bytes, resident_bytes, savings
from foldcli.model.alphafold import AlphaFold
from foldcli.model.features import Features, Recycled

# Of what is free, since the allocator rounds up and the system has other work.
SHARE = 0.9
# Of a budget that is given: libraries pack matrices beside the tensors, and small blocks leave gaps.
KEPT_TO = 0.96
# What a retry takes of a budget that was too much.
TIGHTER = 0.7


def blank_inputs(
    config: ModelConfig, i: int, depth: int, device: torch.device, precision: torch.dtype
) -> tuple[Features, Recycled]:
    """Inputs of a pass over i residues and an alignment of `depth` rows: tensors without memory."""
    c_m, s = config.evoformer.c_m, min(depth, config.msa.max_clusters)
    e = min(max(depth - s, 1), config.msa.max_extra)

    def real(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device=device)

    def whole(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device=device, dtype=torch.int64)

    with FakeTensorMode():
        features = Features(
            whole(i), whole(i), real(i), real(i, 22), real(s, i, 49), real(s, i), whole(e, i), real(e, i), real(e, i),
            real(e, i),
        )  # fmt: skip
        pair = torch.empty(i, i, config.c_z, device=device, dtype=precision)
        return features, Recycled(real(i, c_m), pair, real(i, 37, 3))


def held_bytes(inputs: tuple[Features, Recycled]) -> int:
    """What a pass's inputs take, and the next pass's features, which may wait beside them."""
    return sum(x.numel() * x.element_size() for x in tensors((inputs, inputs[0])))


class Plans:
    """The run's models as they keep to a budget; `fit` sets one for the next job, and `clear` none."""

    def __init__(self, config: FoldConfig, device: torch.device, precision: torch.dtype) -> None:
        self.config, self.device, self.precision = config, device, precision
        self.held, self.budget, self.active = 0, 0.0, False
        self.fitted: dict[str, Chunked] = {}
        self.first_of_kind: dict[ModelConfig, Chunked] = {}

    @property
    def wanted(self) -> bool:
        """Whether the user has set a budget."""
        return self.config.autochunk and bool(self.config.memory_budget)

    def fit(self, models: Mapping[str, AlphaFold], length: int, depth: int, share: float = 1.0) -> None:
        """Make the models keep to what is free, or to the user's budget; FoldcliError where no plan does.

        share: how much of that they are to take, below 1 when all of it was too much.
        """
        self.active = True
        runs = {name: self._fitted(name, model) for name, model in models.items()}
        inputs = {name: blank_inputs(models[name].config, length, depth, self.device, self.precision) for name in runs}
        for name, run in runs.items():
            if not run.graphs:
                run.planner(*inputs[name])  # before the look at what is free: what capturing takes counts
        self.budget = rounded(share * self._bytes([p for model in models.values() for p in model.parameters()]))
        for name, run in runs.items():
            self.held, run.occasion = held_bytes(inputs[name]), self.budget
            run.plan(*inputs[name])

    def clear(self) -> None:
        """Let the models run whole again; what was captured and planned is kept."""
        self.active = False

    def model(self, name: str, whole: AlphaFold) -> AlphaFold:
        return self.fitted[name] if self.active else whole  # type: ignore[return-value]

    def _fitted(self, name: str, model: AlphaFold) -> Chunked:
        """The model by plans; models that differ in their numbers alone share them."""
        if name not in self.fitted:
            kind = replace(model.config, name="")
            self.fitted[name] = Chunked(model, self._choose, like=self.first_of_kind.get(kind))
            self.first_of_kind.setdefault(kind, self.fitted[name])
        return self.fitted[name]

    def _bytes(self, parameters: list[torch.nn.Parameter]) -> float:
        """What a pass may take beside parameters and what the process holds already."""
        if not self.config.memory_budget:
            free = available_bytes(self.device)
            return float("inf") if free is None else SHARE * free
        held = resident_bytes(self.device) - sum(p.nbytes for p in parameters)
        return KEPT_TO * self.config.memory_budget_bytes - max(0, held)

    def _choose(self, planner: Planner) -> Plan:
        plan = planner.fit(self.budget - self.held)
        if plan is None:
            least = planner.tightest().peak + self.held
            raise FoldcliError(
                f"no plan fits: at least {least / GIB:.2f} GiB are needed beside the parameters, and "
                f"{max(self.budget, 0) / GIB:.2f} GiB may be taken; {savings(self.precision.itemsize)}"
            )
        return plan


def rounded(budget: float) -> float:
    """A little less, so that jobs of one length find their plan again though what is free has changed a little."""
    if not 1 < budget < float("inf"):
        return budget
    step = 2.0 ** (math.floor(math.log2(budget)) - 5)
    return budget // step * step
