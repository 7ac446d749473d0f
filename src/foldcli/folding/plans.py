"""Models that keep to a budget of memory by plans of AutoChunk."""

from collections.abc import Mapping

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk import Chunked
from foldcli.autochunk.graph import tensors
from foldcli.autochunk.plan import Plan
from foldcli.autochunk.search import Planner
from foldcli.config import FoldConfig, ModelConfig
from foldcli.errors import FoldcliError
from foldcli.folding.memory import GIB, available_bytes, resident_bytes, savings
from foldcli.model.alphafold import AlphaFold
from foldcli.model.features import Features, Recycled

# Of what is free, since the allocator rounds up and the system has other work.
SHARE = 0.9
# What a retry takes of a budget that was too much.
TIGHTER = 0.7


def blank_inputs(config: ModelConfig, i: int, depth: int, device: torch.device) -> tuple[Features, Recycled]:
    """Inputs of a later pass over i residues and an alignment of `depth` rows: tensors without memory."""
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
        return features, Recycled(real(i, c_m), real(i, i, config.c_z), real(i, 37, 3))


def held_bytes(inputs: tuple[Features, Recycled]) -> int:
    """What a pass's inputs take, and the next pass's features, which may wait beside them."""
    return sum(x.numel() * x.element_size() for x in tensors((inputs, inputs[0])))


class Plans:
    """The run's models as they keep to a budget; `fit` sets one for the next job, and `clear` none."""

    def __init__(self, config: FoldConfig, device: torch.device, width: int) -> None:
        self.config, self.device, self.width = config, device, width
        self.parameters, self.held, self.share = 0, 0, 1.0
        self.budget: float | None = None
        self.chunked: dict[str, Chunked] = {}
        self.active = False

    @property
    def wanted(self) -> bool:
        """Whether the user has set a budget."""
        return self.config.autochunk and bool(self.config.memory_budget)

    def fit(self, models: Mapping[str, AlphaFold], length: int, depth: int, share: float = 1.0) -> None:
        """Make the models keep to what is free, or to the user's budget; FoldcliError where no plan does.

        share: how much of that they are to take, below 1 when all of it was too much.
        """
        every = (p for model in models.values() for p in model.parameters())
        self.parameters, self.share, self.budget = sum(p.numel() * p.element_size() for p in every), share, None
        self.active = True
        for name, model in models.items():
            run = self.chunked.setdefault(name, Chunked(model, self._choose))
            run.runners.clear()
            inputs = blank_inputs(model.config, length, depth, self.device)
            self.held = held_bytes(inputs)
            run.plan(*inputs)

    def clear(self) -> None:
        """Let the models run whole again; what was captured is kept."""
        self.active = False

    def model(self, name: str, whole: AlphaFold) -> AlphaFold:
        return self.chunked[name] if self.active else whole  # type: ignore[return-value]

    def _bytes(self) -> float:
        """What a pass may take beside parameters and what the process holds already."""
        if not self.config.memory_budget:
            free = available_bytes(self.device)
            return float("inf") if free is None else SHARE * free
        return self.config.memory_budget_bytes - max(0, resident_bytes(self.device) - self.parameters)

    def _choose(self, planner: Planner) -> Plan:
        if self.budget is None:  # now, since what planning itself has loaded counts
            self.budget = self.share * self._bytes()
        plan = planner.fit(self.budget - self.held)
        if plan is None:
            least = planner.tightest().peak + self.held
            raise FoldcliError(
                f"no plan fits: at least {least / GIB:.2f} GiB are needed beside the parameters, and "
                f"{max(self.budget, 0) / GIB:.2f} GiB may be taken; {savings(self.width)}"
            )
        return plan
