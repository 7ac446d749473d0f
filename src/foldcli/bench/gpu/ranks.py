"""Two processes on one device share a protein (DAP) over gloo: outputs and gradients against those of one process.

Of what several GPUs would show, one GPU shows this: transfers between computations on CUDA streams, in both passes.
"""

import multiprocessing
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from foldcli.autochunk import Chunked
from foldcli.autochunk.planner import Planner
from foldcli.bench.cases import Cases, Sizes
from foldcli.bench.gpu.checks import failure
from foldcli.compose import model_config
from foldcli.model.alphafold import AlphaFold, Output
from foldcli.model.features import Features
from foldcli.parallel.gradients import whole_gradients
from foldcli.parallel.mesh import RankMesh, world_group
from foldcli.parallel.shard import gather_output, sharded_copy
from foldcli.shapes import Tensor

RANKS = 2
# Of a value's root mean square: sums in another order differ by a thousandth in TF32, a block that came late by all.
ALLOWED = 1e-2
OUTPUTS = ("positions", "distogram", "masked_msa", "lddt", "pair", "single")


def two_processes(device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield the largest difference of outputs, of gradients, and of outputs by a plan of AutoChunk."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        meeting, told = Path(folder) / "ranks", context.SimpleQueue()
        ranks = [context.Process(target=_run, args=(rank, meeting, str(device), told)) for rank in range(RANKS)]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join()
        if told.empty():
            yield {"ok": False, "failed": "no process told anything"}
        while not told.empty():
            yield told.get()


def _run(rank: int, meeting: Path, device: str, told: Any) -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=RANKS)
    try:
        rows = list(_rows(torch.device(device)))
    except Exception as error:
        rows = [failure(error)]
    for row in rows:
        if rank == 0 or not row["ok"]:
            told.put(row | {"what": f"{row.get('what', 'two processes')}, rank {rank}"})
    dist.barrier()  # else a process that ends first takes the other's connections with it
    dist.destroy_process_group()


def _rows(device: torch.device) -> Iterator[dict[str, Any]]:
    dry = device.type == "cpu"
    config = model_config("tiny" if dry else "model_1_ptm")
    config = replace(config, evoformer=replace(config.evoformer, blocks=2))
    sizes = Sizes(5, 3, 2) if dry else Sizes(255, 127, 256)  # odd, so that ranks pad
    cases = Cases(config, sizes, device, torch.float32)
    features, mesh = cases.features(), RankMesh(world_group())
    plain, split = cases.model, sharded_copy(cases.model, mesh.axial)
    size = f"r={sizes.residues} s={sizes.depth}"
    expected, wanted = _outcome(plain, features, RankMesh())
    found, gradients = _outcome(split, features, mesh)
    yield {"what": "two processes, outputs", "size": size} | _judged(found, expected)
    yield {"what": "two processes, gradients", "size": size} | _judged(gradients, wanted)
    with torch.inference_mode():
        planned = _named(gather_output(Chunked(split, Planner.tightest)(features)))
    yield {"what": "two processes, by a plan", "size": size} | _judged(planned, expected)


def _outcome(model: AlphaFold, features: Features, mesh: RankMesh) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs, and the gradients of the parameters."""
    model.requires_grad_()
    output = _named(gather_output(model(features)))
    value = sum(x.square().mean() / x.detach().square().mean() for x in output.values())
    gradients = whole_gradients(value, list(model.parameters()), mesh)  # type: ignore[arg-type]
    names = [name for name, _ in model.named_parameters()]
    return {name: x.detach() for name, x in output.items()}, dict(zip(names, gradients, strict=True))


def _named(output: Output) -> dict[str, Tensor]:
    return {name: getattr(output, name) for name in OUTPUTS}


def _judged(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Any]:
    floor = max(_rms(x) for x in expected.values()) * 1e-6  # what has no gradient has one of rounding
    ratios = {name: _rms(found[name] - x) / (ALLOWED * _rms(x) + floor) for name, x in expected.items()}
    worst = max(ratios, key=lambda name: ratios[name])
    return {"ok": all(ratio <= 1 for ratio in ratios.values()), "worst": worst, "ratio": ratios[worst]}


def _rms(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()
