"""Every kernel compiles for sm_80 and sm_90, spills nothing, fits in shared memory and uses Hopper's products."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def _report(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """Run the report in a process of its own: here triton interprets."""
    table = tmp_path / "table.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "kernels_report.py"), "--json", str(table), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done, json.loads(table.read_text()) if table.exists() else []


def test_every_kernel_compiles_within_its_limits(tmp_path: Path) -> None:
    done, rows = _report(tmp_path, "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["capability"] for row in rows} == {80, 90}
    modules = {row["kernel"].split(".")[0] for row in rows}
    assert modules >= {path.stem for path in (ROOT / "kernels").rglob("*.py") if "def specimens(" in path.read_text()}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the report finds wrong with the configurations that are bad on purpose."""
    done, rows = _report(tmp_path_factory.mktemp("report"), "tests.kernels.bad_specimens")
    assert done.returncode == 1, done.stdout + done.stderr
    return {row["specimen"]: row["faults"] for row in rows}


@pytest.mark.parametrize(
    ("specimen", "fault"),
    [
        ("spills", "spills "),
        ("shared memory", "bytes of shared memory, 232448 are there"),
        ("no matrix instruction", "no wgmma"),
        ("does not compile", "no_such_function"),
    ],
)
def test_bad_configuration_is_refused(refused: dict[str, list[str]], specimen: str, fault: str) -> None:
    assert len(refused[specimen]) == 1
    assert fault in refused[specimen][0]


def test_sound_configuration_is_not(refused: dict[str, list[str]]) -> None:
    assert refused["sound"] == []
