"""The GPU report, as far as it can be tested without a GPU: parts, time limits, checks and tuning."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import foldcli_kernels.layer_norm
import pytest
import torch
from foldcli_kernels import tuning as launch
from torch import Tensor

from foldcli.bench.gpu import cases, checks, figures, report, tuning
from foldcli.ops import dispatch

CPU = torch.device("cpu")
# Hides all packages but torch, triton, numpy and what they need.
PLAIN = """
from importlib.machinery import PathFinder
hidden = {"jaxtyping", "beartype", "rich", "typer", "hydra", "omegaconf", "safetensors", "Bio", "modelcif",
          "matplotlib", "einops", "pytest", "hypothesis"}
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, path=None, target=None: (
    None if name.split(".")[0] in hidden else find(name, path, target))
"""


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(report.SCRIPT), *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_without_a_gpu_it_says_so() -> None:
    done = _run(CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert done.stdout == "gpu-report: no CUDA GPU on this machine, nothing was measured\n"


def test_unknown_part_is_refused() -> None:
    assert "no part 'speed'; there are ceilings, agreement" in _run("--parts", "speed").stderr


def test_every_part_runs_with_torch_and_triton_alone(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(PLAIN)
    done = _run("--dry-run", "--results", str(tmp_path), PYTHONPATH=str(tmp_path), FOLDCLI_HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"\n{name}: ok in " in done.stdout for name in report.PARTS)
    assert [file for file in tmp_path.iterdir() if file.suffix == ".json" or file.name == "launch"] == []


def test_every_part_can_take_its_whole_time() -> None:
    assert sum(part.limit for part in report.PARTS.values()) <= report.TOTAL


def test_a_machine_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert report._about(dry=True)["commit"] == ""


ROW = "row = open(sys.argv[1], 'w'); print(json.dumps({'what': 'first', 'ok': True}), file=row, flush=True)"


@pytest.mark.parametrize(
    ("then", "ended", "rows"),
    [
        ("pass", "", 1),
        ('row.write(\'{"what": "cut o\'); row.flush(); time.sleep(60)', "stopped at its time limit", 1),
        ("sys.exit('out of memory')", "ended with 1", 1),
        ("print(json.dumps({'what': 'second', 'ok': False}), file=row)", "", 2),
    ],
)
def test_a_failing_part_keeps_its_rows(monkeypatch: pytest.MonkeyPatch, then: str, ended: str, rows: int) -> None:
    def start(name: str, index: int, slices: int, folder: Path, dry: bool) -> subprocess.Popen[bytes]:
        code = f"import json, sys, time; {ROW}; {then}"
        with (folder / f"{index}.log").open("wb") as log:
            return subprocess.Popen([sys.executable, "-c", code, str(folder / f"{index}.jsonl")], stderr=log)

    monkeypatch.setattr(report, "_start", start)
    monkeypatch.setitem(report.PARTS, "ceilings", report.Part("", 5 if "sleep" in then else 60))
    part = report.supervise("ceilings", time.monotonic())
    assert (part["ok"], part["ended"], len(part["rows"])) == (then == "pass", ended, rows)
    assert ("out of memory" in part.get("log", "")) == ("out of memory" in then)


def test_a_part_in_its_own_process() -> None:
    part = report.supervise("ceilings", time.monotonic(), dry=True)
    assert part["ok"], part
    assert [row["what"] for row in part["rows"]] == ["matrix product", "copy"]


def test_no_part_starts_when_the_time_is_used_up() -> None:
    part = report.supervise("ceilings", time.monotonic() - report.TOTAL)
    assert not part["ok"]
    assert "no time was left" in part["ended"]


def _norm_times(factor: Callable[[], float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the layer norm kernel: multiply its results by a factor."""
    sound = foldcli_kernels.layer_norm.layer_norm

    def broken(x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        return sound(x, norm) * factor()

    monkeypatch.setattr(foldcli_kernels.layer_norm, "layer_norm", broken)


def _agreement_of_norms() -> list[bool]:
    index = list(cases.CASES).index("layer norm of the MSA")
    return [row["ok"] for row in checks.agreement(CPU, slice(index, index + 1))]


def test_agreement_accepts_the_kernel() -> None:
    assert _agreement_of_norms() == [True]


@pytest.mark.parametrize("factor", [1.0001, float("nan")])
def test_agreement_rejects_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    _norm_times(lambda: factor, monkeypatch)
    assert _agreement_of_norms() == [False]


def test_repeatability_rejects_a_kernel_that_differs_between_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "FEW", ("layer norm of pairs",))
    assert [row["ok"] for row in checks.repeatability(CPU)] == [True]
    factors = iter((1.0, 1.0 + 1e-6))
    _norm_times(lambda: next(factors), monkeypatch)
    dispatch._decisions.clear()  # the sound kernel is remembered
    (row,) = checks.repeatability(CPU)
    assert row["differ"] == ["gradient of offset", "gradient of scale", "gradient of x", "result 0"]


@pytest.fixture
def candidates() -> Iterator[tuple[launch.Parameters, ...]]:
    """Candidates of a kernel that is declared for this test alone."""
    found = tuple({"block": block} for block in (64, 128))
    launch.declare("slow", {"block": 16}, candidates=found)
    yield found
    del launch.declared["slow"]


def _block() -> int:
    return launch.launch_parameters("slow", torch.bfloat16, "256", CPU)["block"]


def test_tuning_takes_the_fastest(monkeypatch: pytest.MonkeyPatch, candidates: tuple[launch.Parameters, ...]) -> None:
    monkeypatch.setattr(tuning, "milliseconds", lambda call, device, budget: float(1000 - _block()))
    row = tuning._fastest(("slow", torch.bfloat16, "256"), _block, CPU)
    assert (row["parameters"], row["ms"], len(row["tried"])) == ({"block": 128}, 872.0, 2)


def test_tuning_passes_over_what_does_not_run(candidates: tuple[launch.Parameters, ...]) -> None:
    def call() -> None:
        if _block() == 128:
            raise RuntimeError("out of resource: shared memory")

    row = tuning._fastest(("slow", torch.bfloat16, "256"), call, CPU)
    assert row["parameters"] == {"block": 64}
    assert row["passed_over"][0]["failed"] == "RuntimeError: out of resource: shared memory"


def test_block_is_timed_as_it_folds() -> None:
    works = [figures.block_work(CPU, 5, 3, fused)[0] for fused in (False, True)]
    with torch.no_grad():
        plain, fused = (work.run() for work in works)
    assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(plain, fused, strict=True))
