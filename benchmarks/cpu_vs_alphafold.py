"""One full-depth pass on the CPU, timed against DeepMind's JAX model in one run (`make bench-cpu`).

Same parameters (rebuilt from their names), same features: 96 residues, 128 clusters, 256 extra rows, 48 and 4 blocks.
The two take turns; the ratio of each turn counts, not the seconds, which on a shared machine are noise. Outputs are
compared before any time is. Writes benchmarks/results/cpu-vs-alphafold-<date>.json.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the foldcli command does, before torch loads OpenMP

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from foldcli.bench.peers.alphafold_run import ReferenceRun, differences  # noqa: E402
from foldcli.folding.allocator import keep_freed_memory  # noqa: E402

SIZES = ["--residues", "96", "--msa", "128", "--extra-msa", "256", "--depth", "400", "--recycles", "0"]
AIMS = {"fp32": 0.6, "bf16": 0.35}
# The block's FLOPs (roofline of the Evoformer) at s = 128, r = 96, times 48.
EVOFORMER_GFLOP = 2280


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def matmul_gflops(dtype: torch.dtype) -> float:
    """This machine's rate for a 2048^3 matrix product."""
    a = torch.randn(2048, 2048).to(dtype)
    seconds = min(timed(lambda: a @ a) for _ in range(5))
    return 2 * 2048**3 / seconds / 1e9


def measure(rounds: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder, reference(folder) as jax_once, torch.inference_mode():
        run = ReferenceRun(Path(folder))
        features = run.passes()[0]
        models = {"fp32": run.model(), "bf16": run.model()}
        models["bf16"].trunk.bfloat16()
        outputs = {name: model(features) for name, model in models.items()}
        same = {name: differences(output, run.outputs(), run.config()) for name, output in outputs.items()}
        times: dict[str, list[float]] = {"jax": [], "fp32": [], "bf16": []}
        for _ in range(rounds):
            times["jax"].append(jax_once())
            for name, model in models.items():
                times[name].append(timed(lambda model=model: model(features)))
            print({name: round(seconds[-1], 1) for name, seconds in times.items()}, flush=True)
    rates = {"fp32": matmul_gflops(torch.float32), "bf16": matmul_gflops(torch.bfloat16)}
    return {
        "seconds": times,
        "ratio": {n: [ours / jax for ours, jax in zip(times[n], times["jax"], strict=True)] for n in models},
        "differences": same, "matmul_gflops": rates,
        "bound_seconds": {name: EVOFORMER_GFLOP / rate for name, rate in rates.items()},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    keep_freed_memory()  # as `foldcli fold` does
    result = measure(rounds)
    for name, aim in AIMS.items():
        ratio, seconds = statistics.median(result["ratio"][name]), statistics.median(result["seconds"][name])
        bound, atoms = result["bound_seconds"][name], result["differences"][name]["atoms"]
        jax = statistics.median(result["seconds"]["jax"])
        print(f"{name}: {seconds:.1f} s, JAX {jax:.1f} s, ratio {ratio:.2f} (aim {aim}); ", end="")
        print(f"Evoformer's arithmetic alone {bound:.1f} s; atoms differ by {atoms:.1e} angstrom")
    today = datetime.date.today().isoformat()
    about = {"date": today, "machine": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    path = ROOT / f"benchmarks/results/cpu-vs-alphafold-{today}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(about | {"torch": torch.__version__} | result, indent=1) + "\n")
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
