"""Memory against time of AlphaFold's trunk by plans of AutoChunk (`make bench-autochunk`).

Widths of model_1_ptm, one block of each stack. Memory is the peak of what the CPU's allocator gives out during one
pass, beside parameters and inputs, the outputs included; each plan's time stands against an unchunked pass right before
it, since other work on the machine weighs on both. Fixed chunks as OpenFold has them are compared. Writes
benchmarks/results/autochunk-<date>.json and the curve as PNG.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the foldcli command does, before torch loads OpenMP

import torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from autochunk_fixed import fixed_chunks  # noqa: E402

from foldcli.autochunk import Chunked  # noqa: E402
from foldcli.autochunk.graph import tensors  # noqa: E402
from foldcli.autochunk.search import Planner  # noqa: E402
from foldcli.compose import model_config  # noqa: E402
from foldcli.model.alphafold import AlphaFold  # noqa: E402
from foldcli.model.features import Features  # noqa: E402
from tests.autochunk.measure import measured_peak  # noqa: E402

MIB = 1 << 20
BLOCKS = ["model.evoformer.blocks=1", "model.extra_msa.blocks=1", "model.template.blocks=1"]
# Time at most, as a share of the unchunked pass; None asks for the least memory at any time.
SLOWDOWNS = (1.08, 1.25, None)
FIXED = (128, 64, 4)


def features(i: int, s: int, e: int) -> Features:
    """Random features without templates."""
    return Features(
        torch.randint(20, (i,)), torch.arange(i), torch.ones(i), torch.rand(i, 22), torch.rand(s, i, 49),
        torch.ones(s, i), torch.randint(22, (e, i)), torch.ones(e, i), torch.rand(e, i), torch.rand(e, i),
    )  # fmt: skip


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Comparison:
    """One length: the unchunked trunk, and what others take beside it."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(0)
        model = AlphaFold(model_config("model_1_ptm", BLOCKS)).eval().requires_grad_(False)
        given = features(args.seq_len, args.msa, args.extra_msa)
        self.trunk, self.inputs = model.trunk, (given, model.first_pass(given))
        self.expected, self.whole = measured_peak(lambda: self.trunk(*self.inputs))
        self.points = [self._point("unchunked", self.whole, 1.0, 0.0)]

    def add(self, name: str, run: Callable[..., Any], predicted: float | None = None) -> None:
        """Measure a way to run the trunk: its memory, its largest error, its time against an unchunked pass."""
        unchunked = timed(lambda: measured_peak(lambda: self.trunk(*self.inputs)))
        start = time.perf_counter()
        found, peak = measured_peak(lambda: run(*self.inputs))
        ratio = (time.perf_counter() - start) / unchunked
        errors = [float((a - b).abs().max()) for a, b in zip(tensors(found), tensors(self.expected), strict=True)]
        self.points.append(self._point(name, peak, ratio, max(errors), predicted))

    def _point(
        self, name: str, peak: float, ratio: float, error: float, predicted: float | None = None
    ) -> dict[str, Any]:
        point = {"name": name, "mib": peak / MIB, "saved": 1 - peak / self.whole, "time": ratio, "error": error}
        if predicted is not None:
            point["predicted"] = predicted / peak
        print(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{v:12}" for k, v in point.items()), flush=True)
        return point

    def plans(self) -> None:
        run = Chunked(self.trunk, Planner.tightest)
        start = time.perf_counter()
        planner = run.planner(*self.inputs)
        for slowdown in SLOWDOWNS:
            plan = planner.tightest() if slowdown is None else planner.within(slowdown)
            run.choose, name = (lambda _, plan=plan: plan), f"plan {slowdown or 'least'}"
            run.runners.clear()
            run.plan(*self.inputs)
            print(f"{name}: planned after {time.perf_counter() - start:.1f} s", *plan.words(), sep="\n  ")
            self.add(name, run, plan.peak)

    def fixed(self) -> None:
        for chunk in FIXED:
            self.add(f"rows {chunk}", lambda *inputs, chunk=chunk: self._in_rows(chunk, inputs))

    def _in_rows(self, chunk: int, inputs: tuple[Any, ...]) -> Any:
        with fixed_chunks(self.trunk, chunk):
            return self.trunk(*inputs)


def draw(points: list[dict[str, Any]], path: Path, title: str) -> None:
    """The curve: memory against time, plans joined by a line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    for prefix, style in (("plan", "o-"), ("rows", "s:"), ("unchunked", "k*")):
        some = sorted((p for p in points if p["name"].startswith(prefix)), key=lambda p: p["time"])
        axes.plot([p["time"] for p in some], [p["mib"] for p in some], style, label=prefix)
    axes.set(xlabel="time, unchunked = 1", ylabel="peak, MiB", ylim=(0, None), title=title)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--msa", type=int, default=512)
    parser.add_argument("--extra-msa", type=int, default=1024)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    args = parser.parse_args()
    with torch.no_grad():
        comparison = Comparison(args)
        comparison.plans()
        comparison.fixed()
    date = datetime.date.today().isoformat()
    name = f"autochunk-{args.seq_len}-{date}"
    setup = {"residues": args.seq_len, "msa": args.msa, "extra_msa": args.extra_msa, "overrides": BLOCKS}
    machine = {"cpu": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    found = {"date": date, "torch": torch.__version__, **machine, **setup, "points": comparison.points}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(comparison.points, args.out / f"{name}.png", f"AlphaFold's trunk at {args.seq_len} residues")


if __name__ == "__main__":
    main()
