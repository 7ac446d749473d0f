"""The GPU report, as far as it can be tested without a GPU: parts, time limits, checks and tuning."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import foldcli_kernels.layer_norm
import pytest
import torch
from foldcli_kernels import tuning as launch
from torch import Tensor

from foldcli.bench.gpu import cases, checks, compare, figures, processes, report, tuning
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
    command = [sys.executable, str(processes.SCRIPT), *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_without_a_gpu_it_says_so() -> None:
    done = _run(CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert done.stdout == "gpu-report: no CUDA GPU on this machine, nothing was measured\n"


def test_unknown_part_is_refused() -> None:
    assert "no part 'speed'; there are ceilings, folds" in _run("--parts", "speed").stderr


def test_every_part_runs_with_torch_and_triton_alone(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(PLAIN)
    done = _run("--dry-run", PYTHONPATH=str(tmp_path), FOLDCLI_HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    for name, part in report.PARTS.items():
        assert f"\n{name}: {'left out, since' if part.installed else 'ok in '}" in done.stdout
    assert [file for file in tmp_path.iterdir() if file.suffix == ".json" or file.name == "launch"] == []


def test_every_part_can_take_its_whole_time() -> None:
    assert max(part.limit for part in report.PARTS.values()) <= 60 * report.MINUTES


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
        command = [sys.executable, "-c", code, str(folder / f"{index}.jsonl")]
        with (folder / f"{index}.log").open("wb") as log:
            return subprocess.Popen(command, stderr=log, start_new_session=True)

    monkeypatch.setattr(processes, "_start", start)
    part = processes.supervise("ceilings", processes.Part("", 5 if "sleep" in then else 60))
    assert (part["ok"], part["ended"], len(part["rows"])) == (then == "pass", ended, rows)
    assert ("out of memory" in part.get("log", "")) == ("out of memory" in then)


def test_a_part_in_its_own_process() -> None:
    part = processes.supervise("ceilings", report.PARTS["ceilings"], dry=True)
    assert part["ok"], part
    assert [row["what"] for row in part["rows"]] == ["matrix product", "copy"]


def test_report_goes_on_where_it_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran, file = list[str](), tmp_path / "report.json"

    def generate(part: processes.Part, *_: object, dry: bool) -> Iterator[dict[str, object]]:
        ran.append(part.source)
        yield {"what": part.source, "ms": 1.0, "ok": dry}

    def call(minutes: str) -> int:
        monkeypatch.setattr(sys, "argv", ["gpu_report", "--dry-run", "--results", str(file), "--minutes", minutes])
        return report.main("The report.")

    parts = {name: processes.Part(name, limit) for name, limit in (("short", 9), ("long", 120), ("cut off", 9))}
    monkeypatch.setattr(report, "PARTS", parts)
    monkeypatch.setattr(report, "_generate", generate)
    assert (call("1"), ran) == (1, ["short", "cut off"])
    kept = json.loads(file.read_text())
    kept["parts"]["cut off"]["ended"] = "stopped at its time limit"
    file.write_text(json.dumps(kept))
    assert (call("9"), ran[2:]) == (0, ["long", "cut off"])
    assert (call("9"), ran[4:]) == (0, [])
    file.write_text(json.dumps(kept | {"about": kept["about"] | {"device": "another"}}))
    assert (call("9"), ran[4:]) == (2, [])


def test_comparison_tells_what_moved_by_more_than_noise() -> None:
    about = {"date": "2026-11-27", "device": "GPU", "torch": "2.11.0"}
    rows = {
        "same": ({"ms": 1.00}, {"ms": 1.09}),
        "steady": ({"ms": 1.00, "spread": 0.01}, {"ms": 1.09, "spread": 0.01}),
        "noisy": ({"ms": 1.00, "spread": 0.10}, {"ms": 1.19, "spread": 0.10}),
        "faster": ({"seconds": 8.0, "peak_gib": 2.0}, {"seconds": 4.0, "peak_gib": 2.0}),
        "broken": ({"ms": 1.0}, {"ok": False, "failed": "OutOfResources"}),
        "gone": ({"ms": 1.0}, None),
        "new": (None, {"ms": 1.0}),
    }
    old, new = (
        {
            "about": about,
            "parts": {"part": {"rows": [{"what": what} | row for what, pair in rows.items() if (row := pair[i])]}},
        }
        for i in (0, 1)
    )
    lines = [" ".join(line.split()) for line in compare.changes(old, new)]
    assert lines[2:] == [
        "part steady 1 ms 1.09 ms 1.09", "part faster 8 s 4 s 0.50", "part broken fine failed",
        "missing now: part: gone", "missing before: part: new",
    ]  # fmt: skip
    assert list(compare.changes(old, old))[1:] == ["nothing moved"]
    assert list(compare.changes(old, {"about": about, "parts": {}}))[2:] == ["missing now: part, all of 6"]


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
