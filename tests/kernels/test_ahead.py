"""What is compiled ahead of time is what the launch finds in Triton's cache."""

import io
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from foldcli.compose import fold_config
from foldcli.data.query import Query
from foldcli.folding import compile_kernels, kernels_ahead
from foldcli.folding.job import Job
from foldcli.folding.kernels_ahead import KernelsAhead
from foldcli.folding.models import Source

ROOT = Path(__file__).parents[2]


def _counted(what: str, cache: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(cache)
    command = [sys.executable, "-m", "tests.kernels.compiled_ahead", what]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_launch_finds_what_other_processes_compiled_and_compiles_the_rest(tmp_path: Path) -> None:
    assert _counted("ahead", tmp_path) == "0 compiled, 0 found"  # by the process that forks those that compile
    assert len(list(tmp_path.rglob("*.cubin"))) == 3
    next(tmp_path.rglob("attention_mask_fill.json")).unlink()  # as if one had failed
    assert _counted("launched", tmp_path) == "1 compiled, 2 found"


def _jobs(*lengths: int) -> list[Job]:
    return [Job(Query(f"q{length}", "", "M" * length, "q"), "") for length in lengths]


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KernelsAhead:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    return KernelsAhead([Source(fold_config("tiny"), None)], torch.device("cpu"), torch.bfloat16)


def test_sizes_of_one_class_are_compiled_once_and_never_again(ahead: KernelsAhead) -> None:
    request: dict[str, Any] = ahead.request(_jobs(40, 56, 48, 41, 300), "H100", 1)
    assert [size[0] for size in request["sizes"]] == [40, 48, 41, 300]  # 40 and 56: eights, and the same tiles
    Path(request["markers"][0]).touch()
    assert [size[0] for size in ahead.request(_jobs(56, 48), "H100", 1)["sizes"]] == [48]
    assert [size[0] for size in ahead.request(_jobs(56, 48), "A100", 1)["sizes"]] == [56, 48]


def test_nothing_starts_without_a_gpu(ahead: KernelsAhead, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KernelsAhead, "start", lambda *_: pytest.fail("started"))
    ahead.begin(_jobs(40), 1)
    ahead.close()


def test_a_run_goes_on_where_nothing_can_be_started(ahead: KernelsAhead, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_ahead, "obstacle_on", lambda *_: "")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    ahead.device = torch.device("cuda")
    ahead.begin(_jobs(40), 1)
    monkeypatch.setattr(metadata, "version", lambda name: {}[name])  # a build of Triton under another name
    ahead.begin(_jobs(40), 1)
    ahead.close()


def test_the_process_compiles_what_it_is_asked_for(ahead: KernelsAhead, monkeypatch: pytest.MonkeyPatch) -> None:
    """The launches themselves are those of `fold`: `test_launches_of_a_fold_are_compiled_ahead_of_time`."""
    request: dict[str, Any] = {**ahead.request(_jobs(40, 41), "H100", 1), "capability": (9, 0)}
    asked: list[Any] = []
    monkeypatch.setattr(compile_kernels, "compile_launches", lambda *given: asked.extend(given))
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(request)))
    compile_kernels.main()
    gpu, capability, _, *works = asked
    assert (gpu, capability, len(works)) == ("H100", (9, 0), 2)
    works[0]()  # passes on meta tensors, which have no numbers to wait for
    assert all(Path(marker).is_file() for marker in request["markers"])
    assert ahead.request(_jobs(41), "H100", 1)["sizes"] == []


def test_what_compiles_is_ended_with_the_run(ahead: KernelsAhead) -> None:
    ahead.start({})  # it fails, since that is no request; nobody is told
    process = ahead._process
    assert process is not None
    ahead.close()
    assert process.returncode is not None
