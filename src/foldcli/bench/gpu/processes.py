"""A part of the report in processes of its own with a time limit: where one crashes or hangs, no other part is lost."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[4]
SCRIPT = ROOT / "benchmarks" / "gpu_report.py"
Result = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A generator of rows ("module:function"), and its time limit in seconds.

    sliced: whether processes can share its cases; installed: whether it needs all that foldcli depends on.
    """

    source: str
    limit: int
    sliced: bool = False
    installed: bool = False


def supervise(name: str, part: Part, dry: bool = False) -> Result:
    """Run a part in processes of its own, stopped at its time limit; return its rows however it ended."""
    began = time.monotonic()
    slices = min(8, max(1, (os.cpu_count() or 1) // 2)) if part.sliced else 1
    with tempfile.TemporaryDirectory() as folder:
        processes = [_start(name, index, slices, Path(folder), dry) for index in range(slices)]
        try:
            ends = [_end(process, began + part.limit) for process in processes]
        finally:
            for process in processes:
                _kill(process)
        rows = [row for index in range(slices) for row in _rows(Path(folder) / f"{index}.jsonl")]
        logs = [(Path(folder) / f"{index}.log").read_text(errors="replace")[-2000:] for index in range(slices)]
    ended = next((end for end in ends if end), "")
    log = next((log for end, log in zip(ends, logs, strict=True) if end), "")
    return judged(rows, ended, time.monotonic() - began) | ({"log": log} if log else {})


def judged(rows: list[dict[str, Any]], ended: str, seconds: float) -> Result:
    """Return a part's result; ended: how, if not by itself."""
    fine = not ended and bool(rows) and all(row.get("ok", True) for row in rows)
    return {"ok": fine, "ended": ended, "seconds": round(seconds, 1), "rows": rows}


def append_rows(rows: Iterator[dict[str, Any]], path: Path) -> None:
    """Write rows as they come."""
    with path.open("a") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
            file.flush()


def _start(name: str, index: int, slices: int, folder: Path, dry: bool) -> subprocess.Popen[bytes]:
    environment = {
        key: value for key, value in os.environ.items() if key not in ("TRITON_INTERPRET", "FOLDCLI_BACKEND")
    }
    command = [sys.executable, str(SCRIPT), "--part", name]
    command += ["--rows", str(folder / f"{index}.jsonl"), "--slice", f"{index}/{slices}"] + ["--dry-run"] * dry
    with (folder / f"{index}.log").open("wb") as log:
        # a session of its own: what it has started ends with it
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def _end(process: subprocess.Popen[bytes], deadline: float) -> str:
    """Wait for a process, to the deadline at most; return how it ended if not well."""
    try:
        code = process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return "stopped at its time limit"
    return f"ended with {code}" if code else ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process, if it has not ended, and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows that a process wrote; its last line may be cut off."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]
