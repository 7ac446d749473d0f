"""Passes and steps of training on devices that are not here (`foldcli bench simulate`).

What a rank computes comes from its own program, run alone (`schedule`); what the network takes, from its latency and
bandwidth (`network`). Ranks are taken to be alike: each has the same share of a sample and as many samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from rich.table import Table

from foldcli.bench.cases import Cases, Sizes
from foldcli.bench.request import DTYPES, device_and_dtype
from foldcli.bench.simulate.network import DEVICES, Device, Network, link
from foldcli.bench.simulate.schedule import Played, Schedule, by_clock, by_roofline, memory_of, play
from foldcli.byte_units import GIB
from foldcli.config import LossConfig, ModelConfig, TrainConfig
from foldcli.data.training.sample import Labels
from foldcli.errors import InputError
from foldcli.model.alphafold import AlphaFold
from foldcli.parallel.mesh import RankGroup
from foldcli.parallel.shard import gather_output, shard
from foldcli.training.losses import total
from foldcli.training.recompute import recompute_blocks

# Bytes for each parameter that training keeps: the trunk's own, master, average, two moments, the gradients' sum.
KEPT = 2 + 4 + 4 + 8 + 4
# Bytes for each parameter that an update reads and writes: the gradients' sum, Adam, the average, the trunk's own.
UPDATED = 60


def simulation(device: str, dtype: str, inside: str, between: str) -> "Simulation":
    """What options name; InputError for what there is not."""
    network = Network(link(inside, "--host-link"), link(between))
    if device == "auto" or device in DEVICES:
        if dtype not in ("auto", *DTYPES):
            raise InputError(f"--dtype {dtype}: expected auto, {', '.join(DTYPES)}")
        return Simulation(DEVICES["a100" if device == "auto" else device], DTYPES.get(dtype, torch.bfloat16), network)
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device {device}: expected {', '.join(DEVICES)}, or cpu or cuda to measure kernels here")
    return Simulation(*device_and_dtype(device, dtype), network)


@dataclass(frozen=True)
class Predicted:
    """A pass or a step of all GPUs, `dap` of which share each sample.

    seconds: of all of it, and those in which a GPU waits for others; efficiency: against one GPU, had it the memory;
    of_groups: against groups of `dap` that tell each other nothing; rate: model FLOP/s of all GPUs; bytes of each GPU.
    """

    what: str
    dap: int
    groups: int
    seconds: float
    waited: float
    efficiency: float
    of_groups: float
    rate: float
    bytes: float


class Simulation:
    """One kind of device and one network; every schedule is found once."""

    def __init__(self, device: Device | torch.device, dtype: torch.dtype, network: Network) -> None:
        self.device, self.dtype, self.network = device, dtype, network
        self._schedules = cache(self._schedule)

    def __str__(self) -> str:
        sheet, net, dtype = self.device, self.network, str(self.dtype).removeprefix("torch.")
        if isinstance(sheet, Device):
            reached = f"{sheet.reached:.0%} of the data sheet's rates and take {sheet.launch * 1e6:.0f} us at least"
            kernels = f"{sheet.name} in {dtype}: kernels reach {reached}"
        else:
            kernels = f"{sheet.type} in {dtype}: kernels are measured here"
        return f"{kernels}; {net.host} to a host, {net.inside} within, {net.between} between"

    def predictions(
        self, training: TrainConfig, model: ModelConfig, sizes: Sizes, gpus: int, dap: int
    ) -> list[Predicted]:
        """A pass of a model and a step of training at these sizes; dap 0: as many GPUs of a host as divide them.

        InputError if the GPUs cannot be shared so.
        """
        dap = dap or max(k for k in range(1, self.network.host + 1) if gpus % k == 0)
        if gpus % dap:
            raise InputError(f"--dap {dap}: does not divide {gpus} GPUs")
        if training.batch_size % (gpus // dap):
            raise InputError(
                f"--gpus {gpus} --dap {dap}: {gpus // dap} groups do not share {training.batch_size} samples a step "
                "evenly; take another --dap, or batch_size=N"
            )
        rows = training.model.msa
        crop = replace(sizes, depth=rows.max_clusters, extra=rows.max_extra)
        return [self.inference(model, sizes, gpus, dap), self.training(training, crop, gpus, dap)]

    def inference(self, config: ModelConfig, sizes: Sizes, gpus: int, dap: int) -> Predicted:
        """Groups of GPUs, each with a pass over a protein of its own."""
        alone, split, groups = self._played(config, sizes, 1), self._played(config, sizes, dap), gpus // dap
        held = self._schedules(config, sizes, dap, None, self.device).peak + self.dtype.itemsize * parameters(config)
        rate = groups * self._flops(config, sizes) / split.total
        return Predicted(
            "pass", dap, groups, split.total, split.exposed, alone.total / (dap * split.total), 1.0, rate, held
        )  # fmt: skip

    def training(self, config: TrainConfig, sizes: Sizes, gpus: int, dap: int) -> Predicted:
        """Every group's samples one after another, then the mean gradient of all and the update."""
        groups, count = gpus // dap, parameters(config.model)
        samples = config.batch_size // groups
        seconds, waited = self._sample(config, sizes, dap)
        telling, update = self.network.all_reduce(4 * count, groups, dap), self._update(count)
        step = samples * seconds + telling + update
        alone = config.batch_size * self._sample(config, sizes, 1)[0] + update
        flops = config.batch_size * (config.sample.max_recycle / 2 + 3) * self._flops(config.model, sizes)
        held = self._schedules(config.model, sizes, dap, config.loss, self.device).peak + KEPT * count
        return Predicted(
            "step", dap, groups, step, samples * waited + telling, alone / (gpus * step), 1 - telling / step,
            flops / step, held,
        )  # fmt: skip

    def _sample(self, config: TrainConfig, sizes: Sizes, dap: int) -> tuple[float, float]:
        """Seconds that a sample takes a group, and those in which it waits; recycling passes are drawn from 0 up."""
        recycling = self._played(config.model, sizes, dap)
        learning = self._played(config.model, sizes, dap, config.loss)
        summing = self.network.all_reduce(self.dtype.itemsize * parameters(config.model), dap, 1)
        passes = config.sample.max_recycle / 2
        return (
            passes * recycling.total + learning.total + summing,
            passes * recycling.exposed + learning.exposed + summing,
        )

    def _update(self, count: int) -> float:
        """Seconds of the optimiser, which is all memory traffic; where it was not measured, none."""
        return self.device.seconds(0, UPDATED * count, torch.float32) if isinstance(self.device, Device) else 0.0

    def _flops(self, config: ModelConfig, sizes: Sizes) -> float:
        """Arithmetic of a pass, which is no device's own: any sheet counts it."""
        sheet = self.device if isinstance(self.device, Device) else DEVICES["a100"]
        return self._schedules(config, sizes, 1, None, sheet).flops

    def _played(self, config: ModelConfig, sizes: Sizes, dap: int, loss: LossConfig | None = None) -> Played:
        return play(self._schedules(config, sizes, dap, loss, self.device), self.network, dap)

    def _schedule(
        self, config: ModelConfig, sizes: Sizes, dap: int, loss: LossConfig | None, device: Device | torch.device
    ) -> Schedule:
        """What rank 0 does for a pass, or, with a loss, to learn from one."""
        place = device if isinstance(device, torch.device) else torch.device("meta")
        ranks, train = RankGroup(0, dap), loss is not None
        with place:
            cases = Cases(config, sizes, place, self.dtype)
            given, truth = cases.features(), labels(sizes)
        model = shard(cases.model, ranks).train(train)
        if train:
            recompute_blocks(model)

        def work() -> None:
            with torch.set_grad_enabled(train):
                output = model(given)
                if loss is not None:
                    value = total(gather_output(output), given, truth, loss, config)["total"]
                    torch.autograd.grad(value, list(model.parameters()), materialize_grads=True)

        if isinstance(device, Device):
            return by_roofline(work, ranks, device)
        peak = memory_of(work, ranks, device)
        return replace(by_clock(work, ranks, device), peak=peak)


def labels(sizes: Sizes) -> Labels:
    """A truth of which nothing is missing."""
    i, s = sizes.residues, sizes.depth
    return Labels(
        torch.ones(i, 37, 3), torch.ones(i, 37), torch.ones(s, i, dtype=torch.int64), torch.ones(s, i),
        torch.tensor(2.0), torch.tensor(1.0),
    )  # fmt: skip


@cache
def parameters(config: ModelConfig) -> int:
    """How many numbers the model has learnt."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in AlphaFold(config).parameters())


def table(predictions: Sequence[Predicted], device: Device | torch.device) -> Table:
    """Predictions as they are printed."""
    heads = ("", "GPUs a sample", "samples at once", "s", "waiting", "efficiency", "of groups", "PFLOP/s", "GiB a GPU")
    grid, memory = Table(*heads), device.memory if isinstance(device, Device) else math.inf
    for p in predictions:
        gib = f"{p.bytes / GIB:.1f}" + (", too much" if p.bytes > memory else "")
        grid.add_row(
            p.what, str(p.dap), str(p.groups), f"{p.seconds:.3f}", f"{p.waited / p.seconds:.1%}", f"{p.efficiency:.1%}",
            f"{p.of_groups:.1%}", f"{p.rate / 1e15:.3g}", gib,
        )  # fmt: skip
    return grid
