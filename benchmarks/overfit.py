"""Overfit test: train the small model from random parameters until it has memorised four real chains.

    python benchmarks/overfit.py [--minutes 20] [--aim 0.95] [KEY=VALUE ...]

Trains the recipe `mini` on the chains of examples/training/four.npz, whole and without templates, and validates the
averaged parameters on the same chains. Prints the mean lDDT-CA at each validation; exit code 1 if it does not reach the
aim in time.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

import torch

from foldcli.compose import train_config
from foldcli.parallel.mesh import RankMesh
from foldcli.training.begin import begin

FOUR = Path(__file__).parents[1] / "examples" / "training" / "four.npz"
SETTINGS = [
    f"train.shards={FOUR}", f"validation.shards={FOUR}", "sample.crop=64", "sample.max_recycle=0",
    "sample.template_share=0", "sample.alignment_share=1", "loss.clamp=0", "optimizer.warmup_samples=100",
    "optimizer.ema=0.95", "optimizer.matrices=adam", "optimizer.rate=1e-3",
    "batch_size=4", "micro_batch=4", "workers=0", "steps=1900", "optimizer.cooldown_steps=900", "validate_every=100",
    "checkpoint.every=1000000", "checkpoint.keep=1", "device=cpu",
]  # fmt: skip


class Reached(Exception):
    """Raised when the aim is reached or the time is up."""


class Watched:
    """Prints validations and stops the run."""

    def __init__(self, aim: float, minutes: float) -> None:
        self.aim, self.start, self.end = aim, time.perf_counter(), time.perf_counter() + 60 * minutes
        self.best = 0.0

    def stepped(self, step: int, detail: str) -> None:
        if time.perf_counter() > self.end:
            raise Reached

    def say(self, line: str) -> None:
        print(f"{time.perf_counter() - self.start:6.0f} s  {line}", flush=True)
        if "lDDT" in line:
            self.best = max(self.best, float(line.partition("lDDT ")[2].partition(",")[0]))
            if self.best >= self.aim:
                raise Reached


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--aim", type=float, default=0.95)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    watched = Watched(options.aim, options.minutes)
    with tempfile.TemporaryDirectory() as folder:
        config = train_config("mini", [*SETTINGS, *options.overrides])
        with contextlib.suppress(Reached):
            begin(config, Path(folder, "run"), False, torch.device("cpu"), RankMesh(), watched).train(watched)
    seconds = time.perf_counter() - watched.start
    print(f"lDDT-CA {watched.best:.3f} on four chains after {seconds:.0f} s")
    sys.exit(watched.best < options.aim)


if __name__ == "__main__":
    main()
