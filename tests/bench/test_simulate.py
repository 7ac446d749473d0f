"""Schedules contain the collectives of the real program, and their replay exposes what is not overlapped."""

import json
from collections import Counter
from pathlib import Path

import jaxtyping
import pytest
import torch

from foldcli.bench.cases import Sizes
from foldcli.bench.simulate.measured import block_kernels, measured_device
from foldcli.bench.simulate.network import DEVICES, LINKS, Link, Network
from foldcli.bench.simulate.predict import Simulation
from foldcli.bench.simulate.roofline import roofline_schedule
from foldcli.bench.simulate.schedule import Message, Replay, Schedule, Wait, replay
from foldcli.compose import model_config, train_config
from foldcli.config import StackConfig
from foldcli.errors import InputError
from foldcli.model.evoformer import EvoformerBlock, OuterFirstBlock
from foldcli.model.msa import MsaColumnAttention
from foldcli.parallel.comm_volume import block_messages, block_sent
from foldcli.parallel.layouts import local_shard
from foldcli.parallel.mesh import RankGroup
from foldcli.parallel.shard import shard

H100 = Path(__file__).parents[2] / "benchmarks" / "results" / "NVIDIA-H100-80GB-HBM3-2026-11-27.json"
LINK = Link(latency=1.0, bandwidth=10.0)
# Kinds of blocks, and the axis over which each takes the MSA sharded.
BLOCKS: dict[type[EvoformerBlock], int] = {EvoformerBlock: -3, OuterFirstBlock: -2}


@pytest.fixture(autouse=True)
def any_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch shape checks off: in a shard of the pairs one letter stands for two lengths."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def test_messages_queue_and_overlap_with_computation() -> None:
    first, second = Message("", peers=1, sent=20), Message("", peers=1, sent=10)  # 3 and 2 seconds
    schedule = Schedule([first, second, 2.0, Wait(0), 1.0, Wait(1), 1.0])
    assert replay(schedule, Network(LINK, LINK), ranks=2) == Replay(total=6.0, communication=5.0, exposed=2.0)


def block_schedule(kind: type[EvoformerBlock], size: int, depth: int, length: int, train: bool = False) -> Schedule:
    """The schedule of rank 0 of `size` for one Evoformer block of the full model."""
    config, ranks = StackConfig(), RankGroup(0, size)
    with torch.device("meta"):
        block = shard(kind(config, 128, MsaColumnAttention(config.c_m, config.msa_heads)), ranks)
        m = local_shard(torch.ones(depth, length, config.c_m), BLOCKS[kind], ranks)
        z = local_shard(torch.ones(length, length, 128), -3, ranks)
        masks = torch.ones(depth, length), local_shard(torch.ones(length, length), -2, ranks)

    def run() -> None:
        with torch.set_grad_enabled(train):
            ends = block.eval()(m.requires_grad_(train), z.requires_grad_(train), *masks)
            if train:
                torch.autograd.backward([end.sum() for end in ends])

    return roofline_schedule(run, ranks, DEVICES["a100"])


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("size", [2, 4])
def test_a_schedule_sends_the_bytes_of_a_block(size: int, kind: type[EvoformerBlock]) -> None:
    schedule = block_schedule(kind, size, 8, 16)
    sent: Counter[str] = Counter()
    for message in (event for event in schedule.events if isinstance(event, Message)):
        sent[message.kind] += message.sent
    assert sent == block_sent(StackConfig(), 128, 8, 16, size, 4)
    assert (
        sum(isinstance(event, Wait) for event in schedule.events) == block_messages(StackConfig(), 16, size, 4).total()
    )


@pytest.mark.parametrize("kind", BLOCKS)
def test_computation_hides_most_communication_forward_and_backward(kind: type[EvoformerBlock]) -> None:
    """All but two all-to-alls in each direction; a wait that comes too early fails this."""
    network = Network(LINKS["nvlink"], LINKS["nvlink"])
    forward, both = (replay(block_schedule(kind, 2, 128, 256, train), network, ranks=2) for train in (False, True))
    assert forward.exposed < 0.25 * forward.communication
    assert both.exposed - forward.exposed < 0.25 * (both.communication - forward.communication)


def test_more_gpus_take_less_memory_and_lose_exposed_communication() -> None:
    model, training = model_config("tiny"), train_config("tiny", ["sample.crop=32", "batch_size=4"])
    simulation = Simulation(DEVICES["a100"], torch.bfloat16, Network(LINK, LINK))
    sizes = Sizes(residues=32, depth=8, extra=8)
    (one, step), (two, shared) = (simulation.predictions(training, model, sizes, gpus, 0) for gpus in (1, 2))
    assert (one.waited, one.efficiency, step.waited, step.efficiency) == (0.0, 1.0, 0.0, 1.0)
    assert two.waited > 0 and two.bytes < one.bytes and shared.bytes < step.bytes
    assert two.efficiency == pytest.approx(one.seconds / (2 * two.seconds))
    with pytest.raises(InputError, match=r"--gpus 3 --dap 1: 3 groups do not share 4 samples a step evenly"):
        simulation.predictions(training, model, sizes, 3, 1)


def report_of(folder: Path, sizes: list[str]) -> Path:
    """A report of an H100 with these of its Evoformer blocks."""
    report = json.loads(H100.read_text())
    rows = report["parts"]["Evoformer block"]["rows"]
    report["parts"]["Evoformer block"]["rows"] = [row for row in rows if row["size"] in sizes]
    path = folder / "report.json"
    path.write_text(json.dumps(report))
    return path


def test_a_measured_gpu_foretells_a_block_that_it_was_not_fitted_to(tmp_path: Path) -> None:
    device = measured_device(report_of(tmp_path, ["r=384 s=512"]))
    seconds = sum(device.seconds(*kernel) for kernel in block_kernels(device, 256, 128))
    assert 1e3 * seconds == pytest.approx(1.634, rel=0.1)  # as a CUDA graph


def test_a_report_without_a_block_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"report.json: it lacks 'Evoformer block forward' in the part"):
        measured_device(report_of(tmp_path, []))
