"""Parts of the report, each in a process of its own with a time limit, and the table and file that they go into."""

import argparse
import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldcli.bench.commit import commit

ROOT = Path(__file__).parents[4]
SCRIPT = ROOT / "benchmarks" / "gpu_report.py"
TOTAL = 465  # seconds for all parts, so that starting and writing fit into 8 minutes


@dataclass(frozen=True)
class Part:
    """A generator of rows ("module:function"), its time limit in seconds, and whether processes can share its cases."""

    source: str
    limit: int
    sliced: bool = False


# Tuning comes before timing; comparisons with others come last. The limits add up to TOTAL, so that every part starts.
PARTS = {
    "ceilings": Part("figures:ceilings", 15),
    "agreement": Part("checks:agreement", 110, sliced=True),
    "repeatability": Part("checks:repeatability", 30),
    "warming": Part("tuning:warming", 40, sliced=True),
    "tuning": Part("tuning:tuning", 75),
    "triangle attention": Part("figures:triangle_attention", 25),
    "Evoformer block": Part("figures:evoformer_block", 35),
    "triangle multiplication": Part("figures:triangle_multiplication", 25),
    "dense": Part("figures:dense", 30),
    "attention peers": Part("peers:attention_peers", 30),
    "multiplication peers": Part("peers:multiplication_peers", 20),
    "compiled reference": Part("peers:compiled_reference", 30),
}


def main(description: str) -> int:
    """Run the report as the command line asks; return the exit status."""
    options = _options(description)
    if options.dry_run:
        os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported
    if options.part:
        return _run_part(options)
    import torch

    if not options.dry_run and not torch.cuda.is_available():
        print("gpu-report: no CUDA GPU on this machine, nothing was measured")
        return 2
    start = time.monotonic()
    report: dict[str, Any] = {"about": _about(options.dry_run), "parts": {}}
    path = options.results / f"{report['about']['device'].replace(' ', '-')}-{datetime.date.today()}.json"
    names = options.parts.split(",") if options.parts else list(PARTS)
    for name in names:
        report["parts"][name] = _dry(name) if options.dry_run else supervise(name, start)
        _print_part(name, report["parts"][name])
        if not options.dry_run:  # after each part, so that an interruption loses nothing
            _write(path, report)
    if options.ship and not options.dry_run:
        _ship()
    print(f"{time.monotonic() - start:.0f} s" + ("" if options.dry_run else f"; written to {path}"))
    return 0 if all(part["ok"] for part in report["parts"].values()) else 1


def _options(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--parts", help=f"comma-separated, of: {', '.join(PARTS)}")
    parser.add_argument(
        "--ship", action="store_true", help="write tuned parameters to foldcli_kernels/defaults as well"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the result")
    parser.add_argument("--dry-run", action="store_true", help="tiny tensors on the CPU; tests the report, not the GPU")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--slice", default="0/1", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set((options.parts or "ceilings").split(",")) - PARTS.keys():
        parser.error(f"no part '{unknown.pop()}'; there are {', '.join(PARTS)}")
    return options


def _about(dry: bool) -> dict[str, Any]:
    """Return device, versions, date and commit."""
    import torch
    import triton

    about: dict[str, Any] = {
        "date": str(datetime.date.today()), "commit": commit(ROOT), "python": platform.python_version(),
    }  # fmt: skip
    about |= {"torch": torch.__version__, "triton": triton.__version__, "cuda": torch.version.cuda}
    if dry:
        return about | {"device": "cpu"}
    card = torch.cuda.get_device_properties(0)
    return about | {
        "device": card.name, "capability": f"{card.major}.{card.minor}", "memory_bytes": card.total_memory,
        "multiprocessors": card.multi_processor_count,
    }  # fmt: skip


def _dry(name: str) -> dict[str, Any]:
    """Run a part in this process, on the CPU."""
    began = time.monotonic()
    rows = list(_generate(PARTS[name], 0, 1, dry=True))
    return _judged(rows, "", time.monotonic() - began)


def supervise(name: str, start: float, dry: bool = False) -> dict[str, Any]:
    """Run a part in processes of its own, stopped at its time limit; return its rows however it ended."""
    part, began = PARTS[name], time.monotonic()
    limit = min(part.limit, TOTAL - (began - start))
    if limit <= 0:
        return {"ok": False, "ended": "not started: no time was left", "seconds": 0.0, "rows": []}
    slices = min(8, max(1, (os.cpu_count() or 1) // 2)) if part.sliced else 1
    with tempfile.TemporaryDirectory() as folder:
        processes = [_start(name, index, slices, Path(folder), dry) for index in range(slices)]
        ends = [_end(process, began + limit) for process in processes]
        rows = [row for index in range(slices) for row in _rows(Path(folder) / f"{index}.jsonl")]
        logs = [(Path(folder) / f"{index}.log").read_text(errors="replace")[-2000:] for index in range(slices)]
    ended = next((end for end in ends if end), "")
    log = next((log for end, log in zip(ends, logs, strict=True) if end), "")
    return _judged(rows, ended, time.monotonic() - began) | ({"log": log} if log else {})


def _judged(rows: list[dict[str, Any]], ended: str, seconds: float) -> dict[str, Any]:
    fine = not ended and bool(rows) and all(row.get("ok", True) for row in rows)
    return {"ok": fine, "ended": ended, "seconds": round(seconds, 1), "rows": rows}


def _start(name: str, index: int, slices: int, folder: Path, dry: bool) -> subprocess.Popen[bytes]:
    environment = {
        key: value for key, value in os.environ.items() if key not in ("TRITON_INTERPRET", "FOLDCLI_BACKEND")
    }
    command = [sys.executable, str(SCRIPT), "--part", name]
    command += ["--rows", str(folder / f"{index}.jsonl"), "--slice", f"{index}/{slices}"] + ["--dry-run"] * dry
    with (folder / f"{index}.log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _end(process: subprocess.Popen[bytes], deadline: float) -> str:
    """Wait for a process, to the deadline at most; return how it ended if not well."""
    try:
        code = process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "stopped at its time limit"
    return f"ended with {code}" if code else ""


def _rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows that a process wrote; its last line may be cut off."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def _run_part(options: argparse.Namespace) -> int:
    """Run one part in this process and append its rows to the file as they come."""
    index, slices = map(int, options.slice.split("/"))
    with options.rows.open("a") as file:
        for row in _generate(PARTS[options.part], index, slices, options.dry_run):
            file.write(json.dumps(row) + "\n")
            file.flush()
    return 0


def _generate(part: Part, index: int, slices: int, dry: bool) -> Iterator[dict[str, Any]]:
    import torch

    module, function = part.source.split(":")
    extra = {"only": slice(index, None, slices)} if part.sliced else {}
    generator = getattr(importlib.import_module(f"foldcli.bench.gpu.{module}"), function)
    return generator(torch.device("cpu" if dry else "cuda:0"), **extra)


def _write(path: Path, report: dict[str, Any]) -> None:
    from foldcli.ops import kernel_tuning

    kernel_tuning.write(path, report)


def _ship() -> None:
    """Add what was tuned on this device to the parameters that ship for its architecture."""
    import torch

    from foldcli.ops import kernel_tuning

    print(f"tuned parameters written to {kernel_tuning.ship(torch.device('cuda', 0))}")


def _print_part(name: str, part: dict[str, Any]) -> None:
    print(f"\n{name}: {'ok' if part['ok'] else 'FAILED'} in {part['seconds']} s {part['ended']}".rstrip())
    for row in part["rows"]:
        print("  " + _line(row))
    if not part["ok"] and part.get("log"):
        print("  " + part["log"].strip().splitlines()[-1])
    sys.stdout.flush()


def _line(row: dict[str, Any]) -> str:
    """Return one row of the table: what, at which size, by what, and its figures."""
    head = f"{row.get('what', ''):38} {row.get('size', ''):14} {row.get('by', row.get('dtype', '')):28}"
    if "failed" in row:
        return f"{head} FAILED {row['failed'][:80]}"
    units = {"ms": "ms", "tflops": "TFLOP/s", "tbs": "TB/s", "ratio": "of the error allowed", "compiled": "compiled"}
    figures = [f"{row[key]:.3g} {unit}" for key, unit in units.items() if row.get(key) is not None]
    figures += [f"(to reach {row[key]:g})" for key in ("goal_tflops", "goal_ms") if row.get(key)]
    figures += [f"{row['kernel']} {row['size_class']}: {row.get('parameters')}"] if "kernel" in row else []
    figures += [f"differs in {', '.join(row['differ'])}"] if row.get("differ") else []
    return f"{head} {'' if row.get('ok', True) else 'FAILED '}{'  '.join(figures)}"
