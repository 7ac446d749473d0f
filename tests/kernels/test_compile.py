"""Every kernel compiles for sm_80 and sm_90, spills nothing, fits in shared memory and uses Hopper's products."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {path: path.read_text() for path in (ROOT / "kernels").rglob("*.py")}
FUNCTIONS = [name for text in SOURCES.values() for name in re.findall(r"@triton\.jit(?:\(.*\))?\ndef (\w+)", text)]
# What is launched, name[grid](...); the other functions are parts of kernels.
KERNELS = [name for text in SOURCES.values() for name in re.findall(r"(\w+)\[", text) if name in FUNCTIONS]


def test_kernels_are_named_after_operation_and_step() -> None:
    """A GPU profile shows these names alone."""
    assert sorted(FUNCTIONS) == sorted(set(FUNCTIONS))
    for path, text in SOURCES.items():
        operation = path.parent.name.removesuffix("_multiplication")
        found = [name for name in KERNELS if f"def {name}(" in text]
        assert [name for name in found if not name.startswith(f"{operation}_")] == []


def _report(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """Run the report in another process, since in this one Triton interprets kernels."""
    table = tmp_path / "table.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "kernels_report.py"), "--json", str(table), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done, json.loads(table.read_text()) if table.exists() else []


def test_every_kernel_compiles_within_its_limits(tmp_path: Path) -> None:
    done, rows = _report(tmp_path, "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {row["capability"] for row in rows} == {80, 90}
    assert {row["kernel"] for row in rows} == set(KERNELS)


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The faults that the report finds in the configurations that are bad on purpose."""
    done, rows = _report(tmp_path_factory.mktemp("report"), "tests.kernels.bad_aot_configs")
    assert done.returncode == 1, done.stdout + done.stderr
    return {row["config"]: row["faults"] for row in rows}


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ("spills", "spills "),
        ("shared memory", "bytes of shared memory, 232448 are there"),
        ("no matrix instruction", "no wgmma"),
        ("short tile", "instructions a score, 11 are allowed"),
        ("does not compile", "no_such_function"),
    ],
)
def test_bad_configuration_is_refused(refused: dict[str, list[str]], config: str, fault: str) -> None:
    assert len(refused[config]) == 1
    assert fault in refused[config][0]


def test_sound_configuration_is_not(refused: dict[str, list[str]]) -> None:
    assert refused["sound"] == []


def test_attention_issues_few_instructions_a_score(tmp_path: Path) -> None:
    """Fewer than 6 would mean that another loop was counted: one is for the exponential, one for the largest logit."""
    forward = "attention_forward bfloat16 d32 bias ieee 2x128x64x8x2"
    done, rows = _report(tmp_path, "--only", forward, "foldcli_kernels.attention.aot")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [6 < row["per_score"] <= 11 for row in rows if row["capability"] == 90] == [True]


def test_launches_that_once_ran_badly_do_not(tmp_path: Path) -> None:
    """The outer product of one sequence needed 241,664 bytes of shared memory of 232,448; the others spilled."""
    done, rows = _report(tmp_path, "tests.kernels.launched_aot_configs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rows) == 4  # one outer product for any number of sequences


def test_launches_of_a_fold_are_compiled_ahead_of_time() -> None:
    """As they are launched, whatever the size: only lengths and strides tell one compiled kernel from another."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.kernels.launches_of_folds"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\s*[1-9]\d+ launches\s*", done.stdout), done.stdout
