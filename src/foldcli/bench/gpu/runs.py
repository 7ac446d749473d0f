"""The commands themselves, as a user starts them: folds and training, with a kernel cache that is empty at first."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from foldcli.bench.gpu.passes import random_query
from foldcli.bench.gpu.processes import ROOT
from foldcli.bench.training import long_sample, time_one_step
from foldcli.byte_units import GIB
from foldcli.compose import train_config
from foldcli.parallel.mesh import RankMesh
from foldcli.protein.residues import LETTERS_X
from foldcli.training.begin import new_model
from foldcli.training.learner import Learner

SHARD = ROOT / "examples" / "training" / "few_validation.npz"
NO_GRAPHS = "no CUDA graph could be captured"  # of folding/graphs.py
NO_STEP_GRAPHS = "no CUDA graph of a training step"  # of training/graphs.py


def folds(device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield folds of one sequence, first and warm, and of 300 residues, whose stacks run as CUDA graphs."""
    model, short, long = ("tiny", 8, 12) if device.type == "cpu" else ("model_1_ptm", 96, 300)
    with tempfile.TemporaryDirectory() as folder:
        for name, length, rows in (("first", short, 1), ("warm", short, 1), ("graphs", long, 1), ("rows", long, 500)):
            source, out = Path(folder) / f"{name}.a3m", Path(folder) / "out" / name
            source.write_text(_a3m(length, rows))
            done, seconds = _foldcli(
                Path(folder), "fold", str(source), "--model", model, "--weights", "untrained", "--out", str(out),
                "--no-templates", "--device", device.type,
            )  # fmt: skip
            timings = next(out.glob("*/timings.json"), None)
            phases = json.loads(timings.read_text()) if timings else {}
            fine = done.returncode == 0 and NO_GRAPHS not in done.stderr
            row = {"what": f"fold, {name}", "size": f"r={length} s={rows}", "ok": fine, "seconds": seconds}
            yield row | {"phases": phases} | ({} if fine else {"failed": _last_line(done)})


def training(device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield a training run and its resumption: seconds of the command, samples/s of warm steps, as graphs."""
    recipe, steps = ("tiny", 2) if device.type == "cpu" else ("mini", 20)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        for name, until in (("from its beginning", steps), ("resumed", 2 * steps)):
            done, seconds = _foldcli(
                Path(folder), "train", "--config", recipe, "--out", str(run), f"steps={until}", f"device={device.type}",
                f"checkpoint.every={steps}", "validate_every=1000000",
            )  # fmt: skip
            log = run / "log.jsonl"
            logged = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
            rates = [line["samples_per_second"] for line in logged if "samples_per_second" in line]
            row = {"what": f"train {recipe}, {name}", "size": f"{until} steps", "seconds": seconds}
            row |= {"samples_per_second": statistics.median(rates[-steps // 2 :])} if rates else {}
            fine = done.returncode == 0 and len(rates) == until and NO_STEP_GRAPHS not in done.stderr
            yield row | {"ok": fine} | ({} if fine else {"failed": _last_line(done)})


def big_step(device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield one step of recipe `big` on one sample, without recycling; the whole model, crop 256, 124 + 1,024 rows."""
    recipe = "tiny" if device.type == "cpu" else "big"
    one = ["batch_size=1", "micro_batch=1", "sample.max_recycle=0", "sample.deleted_blocks=0", "steps=2"]
    config = train_config(recipe, one)
    learner = Learner(new_model(config, device, RankMesh()), config, RankMesh())
    _, seconds, peak = time_one_step(learner, long_sample(config, SHARD))
    row = {"what": f"one step of {recipe}", "size": f"r={config.sample.crop}", "ok": True, "seconds": seconds}
    yield row | {"peak_gib": round(peak / GIB, 3)}


def _foldcli(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run a command of foldcli with its cache in this folder; return its end and its seconds."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"FOLDCLI_HOME": str(folder / "home"), "PYTHONPATH": path}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "foldcli", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done, round(time.monotonic() - start, 2)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip() or f"ended with {done.returncode}").splitlines()[-1][:300]


def _a3m(length: int, rows: int) -> str:
    alignment = random_query(length, rows + 1).alignment
    assert alignment is not None
    written = ("".join((LETTERS_X + "-")[token] for token in row) for row in alignment.tokens[:rows])
    return "".join(f">row{number}\n{row}\n" for number, row in enumerate(written))
