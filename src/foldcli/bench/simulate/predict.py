"""Predict inference passes and training steps on GPUs that are not here (`foldcli bench simulate`).

Computation comes from the program of one rank, run alone (`record`, `roofline`), communication from the latency and
bandwidth of a network (`network`). All ranks are assumed to have the same work: equal shards, equally many samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from rich.table import Table

from foldcli.bench.cases import Cases, Sizes
from foldcli.bench.request import DTYPES, device_and_dtype
from foldcli.bench.simulate.measured import measured_device
from foldcli.bench.simulate.network import DEVICES, Device, Network, link
from foldcli.bench.simulate.record import measured_peak, measured_schedule
from foldcli.bench.simulate.roofline import roofline_schedule
from foldcli.bench.simulate.schedule import Replay, Schedule, replay
from foldcli.byte_units import GIB
from foldcli.config import LossConfig, ModelConfig, TrainConfig
from foldcli.data.training.sample import Labels
from foldcli.errors import InputError
from foldcli.model.alphafold import AlphaFold
from foldcli.parallel.mesh import RankGroup
from foldcli.parallel.shard import gather_output, shard
from foldcli.training.losses import total
from foldcli.training.recompute import recompute_blocks

# Bytes of memory per parameter in training: bf16 copy, master copy, EMA, two Adam moments, accumulated gradient.
KEPT = 2 + 4 + 4 + 8 + 4
# Bytes per parameter that an optimiser step reads and writes: gradient, Adam's moments, master copy, EMA, bf16 copy.
UPDATED = 60


def simulation(device: str, dtype: str, inside: str, between: str) -> "Simulation":
    """The simulation for command-line options; InputError: an unknown device, precision or link."""
    network = Network(link(inside, "--host-link"), link(between))
    if device == "auto" or device in DEVICES:
        if dtype not in ("auto", *DTYPES):
            raise InputError(f"--dtype {dtype}: expected auto, {', '.join(DTYPES)}")
        return Simulation(DEVICES["a100" if device == "auto" else device], DTYPES.get(dtype, torch.bfloat16), network)
    if device.endswith(".json"):
        return Simulation(measured_device(Path(device)), DTYPES.get(dtype, torch.bfloat16), network)
    if device not in ("cpu", "cuda"):
        expected = f"{', '.join(DEVICES)}, a file of `make gpu-report`, or cpu or cuda to measure kernels here"
        raise InputError(f"--device {device}: expected {expected}")
    return Simulation(*device_and_dtype(device, dtype), network)


@dataclass(frozen=True)
class Estimate:
    """An inference pass or a training step on groups of `dap` GPUs, each group with samples of its own.

    seconds: of the whole; waited: exposed communication, seconds; efficiency: parallel efficiency against one GPU with
    unlimited memory; of_groups: efficiency against groups without a gradient all-reduce; rate: model FLOP/s of all
    GPUs; bytes: peak memory of each GPU.
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
    """Predictions for one kind of GPU and one network; schedules are cached."""

    def __init__(self, device: Device | torch.device, dtype: torch.dtype, network: Network) -> None:
        self.device, self.dtype, self.network = device, dtype, network
        self._schedules = cache(self._schedule)

    def __str__(self) -> str:
        sheet, net, dtype = self.device, self.network, str(self.dtype).removeprefix("torch.")
        if isinstance(sheet, Device):
            kernels = f"{sheet.name} in {dtype}: {sheet}"
        else:
            kernels = f"{sheet.type} in {dtype}: kernels are measured here"
        return f"{kernels}; {net.host} to a host, {net.inside} within, {net.between} between"

    def predictions(
        self, training: TrainConfig, model: ModelConfig, sizes: Sizes, gpus: int, dap: int
    ) -> list[Estimate]:
        """An inference pass and a training step; dap 0: the most GPUs of one host that divide `gpus`.

        Both have `sizes.residues`; the training step takes its MSA depths from the recipe.
        InputError: the GPUs do not divide into groups, or the batch not over the groups.
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

    def inference(self, config: ModelConfig, sizes: Sizes, gpus: int, dap: int) -> Estimate:
        """One pass of each group of GPUs, over a protein of its own."""
        alone, split, groups = self._replay(config, sizes, 1), self._replay(config, sizes, dap), gpus // dap
        held = self._schedules(config, sizes, dap, None, self.device).peak + self.dtype.itemsize * parameters(config)
        rate = groups * self._flops(config, sizes) / split.total
        return Estimate(
            "pass", dap, groups, split.total, split.exposed, alone.total / (dap * split.total), 1.0, rate, held
        )  # fmt: skip

    def training(self, config: TrainConfig, sizes: Sizes, gpus: int, dap: int) -> Estimate:
        """One step: each group's samples in sequence, the all-reduce of gradients over groups, the optimiser."""
        groups, count = gpus // dap, parameters(config.model)
        samples = config.batch_size // groups
        seconds, waited = self._sample(config, sizes, dap)
        all_reduce, update = self.network.all_reduce(4 * count, groups, dap), self._update(count)
        step = samples * seconds + all_reduce + update
        alone = config.batch_size * self._sample(config, sizes, 1)[0] + update
        flops = config.batch_size * (config.sample.max_recycle / 2 + 3) * self._flops(config.model, sizes)
        held = self._schedules(config.model, sizes, dap, config.loss, self.device).peak + KEPT * count
        return Estimate(
            "step", dap, groups, step, samples * waited + all_reduce, alone / (gpus * step), 1 - all_reduce / step,
            flops / step, held,
        )  # fmt: skip

    def _sample(self, config: TrainConfig, sizes: Sizes, dap: int) -> tuple[float, float]:
        """Seconds and exposed communication of one sample on a group, with the mean number of recycling passes."""
        recycling = self._replay(config.model, sizes, dap)
        learning = self._replay(config.model, sizes, dap, config.loss)
        gradient_sum = self.network.all_reduce(self.dtype.itemsize * parameters(config.model), dap, 1)
        passes = config.sample.max_recycle / 2
        return (
            passes * recycling.total + learning.total + gradient_sum,
            passes * recycling.exposed + learning.exposed + gradient_sum,
        )

    def _update(self, count: int) -> float:
        """Seconds of the optimiser, which is bound by memory bandwidth; 0 where kernels are measured here."""
        return self.device.seconds(0, UPDATED * count, torch.float32) if isinstance(self.device, Device) else 0.0

    def _flops(self, config: ModelConfig, sizes: Sizes) -> float:
        """FLOPs of a pass; they are the same on every device, so any data sheet counts them."""
        sheet = self.device if isinstance(self.device, Device) else DEVICES["a100"]
        return self._schedules(config, sizes, 1, None, sheet).flops

    def _replay(self, config: ModelConfig, sizes: Sizes, dap: int, loss: LossConfig | None = None) -> Replay:
        return replay(self._schedules(config, sizes, dap, loss, self.device), self.network, dap)

    def _schedule(
        self, config: ModelConfig, sizes: Sizes, dap: int, loss: LossConfig | None, device: Device | torch.device
    ) -> Schedule:
        """Rank 0's schedule of a forward pass, or with a loss of forward and backward."""
        place = device if isinstance(device, torch.device) else torch.device("meta")
        ranks, train = RankGroup(0, dap), loss is not None
        with place:
            cases = Cases(config, sizes, place, self.dtype)
            given, truth = cases.features(), labels(sizes)
        model = shard(cases.model, ranks).train(train)
        if train:
            recompute_blocks(model)

        def run() -> None:
            with torch.set_grad_enabled(train):
                output = model(given)
                if loss is not None:
                    value = total(gather_output(output), given, truth, loss, config)["total"]
                    torch.autograd.grad(value, list(model.parameters()), materialize_grads=True)

        if isinstance(device, Device):
            return roofline_schedule(run, ranks, device)
        peak = measured_peak(run, ranks, device)
        return replace(measured_schedule(run, ranks, device), peak=peak)


def labels(sizes: Sizes) -> Labels:
    """Labels of a structure with every atom resolved."""
    i, s = sizes.residues, sizes.depth
    return Labels(
        torch.ones(i, 37, 3), torch.ones(i, 37), torch.ones(s, i, dtype=torch.int64), torch.ones(s, i),
        torch.tensor(2.0), torch.tensor(1.0),
    )  # fmt: skip


@cache
def parameters(config: ModelConfig) -> int:
    """Number of parameters of the model."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in AlphaFold(config).parameters())


def table(predictions: Sequence[Estimate], device: Device | torch.device) -> Table:
    """Predictions as a table."""
    heads = ("", "DAP", "groups", "s", "exposed comm.", "efficiency", "of groups", "PFLOP/s", "GiB / GPU")
    grid, memory = Table(*heads), device.memory if isinstance(device, Device) else math.inf
    for p in predictions:
        gib = f"{p.bytes / GIB:.1f}" + (", too much" if p.bytes > memory else "")
        grid.add_row(
            p.what, str(p.dap), str(p.groups), f"{p.seconds:.3f}", f"{p.waited / p.seconds:.1%}", f"{p.efficiency:.1%}",
            f"{p.of_groups:.1%}", f"{p.rate / 1e15:.3g}", gib,
        )  # fmt: skip
    return grid
