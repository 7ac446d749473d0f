"""Parts of the report in order of worth, and the file that they go into; what is done there is not done again."""

import argparse
import datetime
import hashlib
import importlib
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foldcli.bench.commit import commit
from foldcli.bench.gpu import compare
from foldcli.bench.gpu.processes import ROOT, Part, Result, append_rows, judged, supervise
from foldcli.errors import InputError

# In order of worth: first how fast the machine is, what has never run on a GPU, and whether the kernels are right.
PARTS = {
    "ceilings": Part("figures:ceilings", 20),
    "folds": Part("runs:folds", 150, installed=True),
    "training": Part("runs:training", 180, installed=True),
    "agreement": Part("checks:agreement", 110, sliced=True),
    "two processes": Part("ranks:two_processes", 90, installed=True),
    "passes": Part("passes:passes", 100, installed=True),
    "long passes": Part("passes:long_passes", 150, installed=True),
    "Evoformer block": Part("figures:evoformer_block", 60),
    "kernels": Part("kernels:kernels", 60),
    "triangle attention": Part("figures:triangle_attention", 25),
    "triangle multiplication": Part("figures:triangle_multiplication", 25),
    "modules": Part("modules:modules", 60, installed=True),
    "big step": Part("runs:big_step", 60, installed=True),
    "repeatability": Part("checks:repeatability", 30),
    "warming": Part("tuning:warming", 40, sliced=True),
    "tuning": Part("tuning:tuning", 75),
    "dense": Part("figures:dense", 30),
    "attention peers": Part("peers:attention_peers", 30),
    "multiplication peers": Part("peers:multiplication_peers", 20),
    "compiled reference": Part("peers:compiled_reference", 30),
}
MINUTES = 9.0  # where a command may take 10
SAME = ("device", "torch", "triton", "sources")  # of what a file tells, what all its parts have in common
NEEDED = ("hydra", "gemmi", "pyhmmer", "modelcif", "safetensors", "foldcli.conf")  # by installed parts


def main(description: str) -> int:
    """Run the report as the command line asks; return the exit status."""
    options = _options(description)
    if options.dry_run:
        os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported
    if options.part:
        return _run_part(options)
    try:
        old = compare.load(options.compare) if options.compare else None
        return _report(options, old)
    except InputError as error:
        print(f"gpu-report: {error}")
        return 2


def _report(options: argparse.Namespace, old: dict[str, Any] | None) -> int:
    """Run what is left of the parts asked for; return 1 if one failed or is left."""
    import torch

    path, names = options.results, options.parts.split(",") if options.parts else list(PARTS)
    if not (options.dry_run or torch.cuda.is_available()):
        if not (old and path and path.is_file()):
            raise InputError("no CUDA GPU on this machine, nothing was measured")
        report = compare.load(path)
    else:
        about = _about(options.dry_run)
        kept = path or (None if options.dry_run else _default_path(about))
        report = _opened(kept, about)
        _run(report, kept, names, options)
    if old:
        print(*compare.changes(old, report), sep="\n")
    return 0 if all(report["parts"].get(name, {}).get("ok") for name in names if not _lacking(PARTS[name])) else 1


def _run(report: dict[str, Any], path: Path | None, names: list[str], options: argparse.Namespace) -> None:
    """Run the parts that are left, as far as the time allows, and write the file after each."""
    start = time.monotonic()
    for name in left(report, names):
        part, seconds = PARTS[name], 60 * options.minutes - (time.monotonic() - start)
        if lacking := _lacking(part):
            print(f"\n{name}: left out, since it needs foldcli installed, and there is no {lacking}")
        elif seconds < part.limit:
            print(f"\n{name}: left for the next call, since it may take {part.limit} s of {max(0.0, seconds):.0f}")
        else:
            report["parts"][name] = _dry(name) if options.dry_run else supervise(name, part)
            _print_part(name, report["parts"][name])
            if path:
                _write(path, report)
    if options.ship and not options.dry_run:
        _ship()
    print(f"\n{time.monotonic() - start:.0f} s" + (f"; written to {path}" if path else ""))


def left(report: dict[str, Any], names: list[str]) -> list[str]:
    """Return the parts that are not done: those not begun, then those that crashed or ran out of time."""
    parts = report["parts"]
    return [name for name in names if name not in parts] + [name for name in names if parts.get(name, {}).get("ended")]


def _opened(path: Path | None, about: dict[str, Any]) -> dict[str, Any]:
    """Return the report that a file has, to go on with, else an empty one; InputError: it is of something else."""
    if path is None or not path.exists():
        return {"about": about, "parts": {}}
    report = compare.load(path)
    for key in SAME:
        if (was := report["about"].get(key)) != about[key]:
            raise InputError(f"{path}: its {key} was {was}, and is {about[key]} now; name another file by --results")
    return report


def _default_path(about: dict[str, Any]) -> Path:
    return ROOT / "benchmarks" / "results" / f"{about['device'].replace(' ', '-')}-{about['date']}.json"


def _lacking(part: Part) -> str:
    """Return a package that a part needs and that is not there."""
    return next((name for name in NEEDED if part.installed and importlib.util.find_spec(name) is None), "")


def _options(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--parts", help=f"comma-separated, of: {', '.join(PARTS)}")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="that this call may take (default: %(default)g)")
    parser.add_argument(
        "--compare", type=Path, metavar="OLD.json", help="print what moved since; measures what is left"
    )
    parser.add_argument(
        "--ship", action="store_true", help="write tuned parameters to foldcli_kernels/defaults as well"
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="default: benchmarks/results/<device>-<date>.json")
    parser.add_argument("--dry-run", action="store_true", help="tiny tensors on the CPU; tests the report, not the GPU")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--slice", default="0/1", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.parts.split(",") if options.parts else ()) - PARTS.keys():
        parser.error(f"no part '{unknown.pop()}'; there are {', '.join(PARTS)}")
    return options


def _about(dry: bool) -> dict[str, Any]:
    """Return device, versions, date, commit, and a digest of the sources, which tells checkouts without git apart."""
    import torch
    import triton

    sources = sorted(path for folder in ("src", "kernels") for path in (ROOT / folder).rglob("*.py"))
    about: dict[str, Any] = {
        "date": str(datetime.date.today()), "commit": commit(ROOT), "python": platform.python_version(),
        "sources": hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12],
    }  # fmt: skip
    about |= {"torch": torch.__version__, "triton": triton.__version__, "cuda": torch.version.cuda}
    if dry:
        return about | {"device": "cpu"}
    card = torch.cuda.get_device_properties(0)
    return about | {
        "device": card.name, "capability": f"{card.major}.{card.minor}", "memory_bytes": card.total_memory,
        "multiprocessors": card.multi_processor_count,
    }  # fmt: skip


def _dry(name: str) -> Result:
    """Run a part in this process, on the CPU."""
    began = time.monotonic()
    rows = list(_generate(PARTS[name], 0, 1, dry=True))
    return judged(rows, "", time.monotonic() - began)


def _run_part(options: argparse.Namespace) -> int:
    """Run one part in this process and append its rows to the file as they come."""
    index, slices = map(int, options.slice.split("/"))
    append_rows(_generate(PARTS[options.part], index, slices, options.dry_run), options.rows)
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
    units = {
        "ms": "ms", "seconds": "s", "first_seconds": "s at first", "samples_per_second": "samples/s",
        "tflops": "TFLOP/s", "tbs": "TB/s", "peak_gib": "GiB", "predicted_gib": "GiB predicted",
        "predicted_seconds": "s predicted", "launches": "launches", "ratio": "of the error allowed",
        "compiled": "compiled",
    }  # fmt: skip
    figures = [f"{row[key]:.3g} {unit}" for key, unit in units.items() if row.get(key) is not None]
    figures += [f"(to reach {row[key]:g})" for key in ("goal_tflops", "goal_ms", "goal_seconds") if row.get(key)]
    figures += [f"{row['kernel']} {row['size_class']}: {row.get('parameters')}"] if "kernel" in row else []
    figures += [f"differs in {', '.join(row['differ'])}"] if row.get("differ") else []
    longest = sorted(row.get("phases", {}).items(), key=lambda phase: -phase[1])[:4]
    figures += [", ".join(f"{name} {seconds:.2f}" for name, seconds in longest)] if longest else []
    return f"{head} {'' if row.get('ok', True) else 'FAILED '}{'  '.join(figures)}"
