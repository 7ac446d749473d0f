"""`foldcli doctor` on a machine where folding works, and where something is missing or damaged."""

import builtins
import os
import shutil
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foldcli.cli.main import run
from foldcli.doctor import devices, installed_data, machine
from foldcli.doctor.examine import examine
from foldcli.doctor.finding import Finding
from foldcli.ops.dispatch import backend
from foldcli.weights import cache

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache with a parameter file for each pTM preset, its size and SHA-256 recorded."""
    monkeypatch.setenv("FOLDCLI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with cache.locked() as folder:
        for number in range(1, 6):
            np.savez(folder / f"params_model_{number}_ptm.npz", number=np.array(number))
        paths = sorted(folder.glob("*.npz"))
        cache.record(
            [cache.Entry(cache.preset_of(p.name) or "", p.name, p.stat().st_size, cache.sha256(p)) for p in paths]
        )
    return tmp_path / "home"


def found(what: str, **arguments: Any) -> list[Finding]:
    return [finding for finding in examine(**arguments) if finding.what == what]


def test_a_machine_that_folds(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["foldcli", "doctor"])
    with pytest.raises(SystemExit) as end:
        run()
    out = capfd.readouterr().out
    assert (end.value.code, out.splitlines()[-1]) == (0, "folding works")
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if line.startswith("│")}
    assert {
        "Python",
        "torch",
        "GPU",
        "kernels",
        "memory",
        "parameters",
        "structure library",
        "cache",
        "mmseqs",
    } <= rows.keys()
    assert "5 of 15 presets" in rows["parameters"]
    assert torch.__version__ in rows["torch"]


def test_without_parameters_the_package_has_its_own(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(home)
    monkeypatch.setattr(sys, "argv", ["foldcli", "doctor"])
    with pytest.raises(SystemExit) as end:
        run()
    out = capfd.readouterr().out
    assert (end.value.code, out.splitlines()[-1]) == (0, "folding works")
    assert "foldcli-mini" in out and "foldcli weights download" in " ".join(out.replace("│", " ").split())
    assert not home.exists()  # it writes nothing


def test_parameters_are_compared_by_size_and_when_asked_by_sum(home: Path) -> None:
    path = home / "params" / "params_model_3_ptm.npz"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert not any(finding.broken for finding in found("parameters"))
    (_, damaged) = found("parameters", sums=True)
    assert damaged.broken
    assert damaged.advice.startswith("damaged: SHA-256")
    path.write_bytes(data[:-1])
    (_, damaged) = found("parameters")
    assert (damaged.found, damaged.broken) == (path.name, True)
    path.unlink()
    missing, gone = found("parameters")
    assert (missing.broken, gone.broken) == (False, False)  # the other four fold when they are named
    assert "no parameters for model_3_ptm" in missing.advice
    assert "recorded, but gone" in gone.advice
    (home / "params" / cache.MANIFEST).write_text("{")
    (damaged,) = found("parameters")
    assert damaged.broken and "not a manifest of foldcli" in damaged.advice


def test_without_torch_the_rest_is_still_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def failing(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "torch":
            raise OSError("libtorch.so: cannot open shared object file\nand more")
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", failing)
    findings = {finding.what: finding for finding in examine()}
    assert findings["torch"].found == "libtorch.so: cannot open shared object file"
    assert findings["torch"].broken and "pip install 'torch>=" in findings["torch"].advice
    assert "cache" in findings and "GPU" not in findings


def test_the_backend_that_is_asked_for_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with backend("reference"):
        assert found("kernels") == [Finding("kernels", "not used: FOLDCLI_BACKEND=reference")]
    with backend("triton"):
        assert found("kernels") == [Finding("kernels", "layer norm ran on cpu, as it should")]  # interpreted
        monkeypatch.delenv("TRITON_INTERPRET")
        monkeypatch.setattr("foldcli.ops.dispatch._decisions", {})
        (finding,) = found("kernels")
    assert finding.broken and "backend triton: layer_norm cannot run: tensors on cpu" in finding.advice
    monkeypatch.setitem(sys.modules, "foldcli_kernels.transition", None)
    (finding,) = found("kernels")
    assert not finding.broken and finding.advice == "pip install triton"


UNSEEN: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "this torch is built without CUDA": lambda patch: patch.setattr(torch.version, "cuda", None),
    "CUDA_VISIBLE_DEVICES= hides it": lambda patch: patch.setenv("CUDA_VISIBLE_DEVICES", ""),
    "MIG is on and has no instance": lambda patch: None,
}


@pytest.mark.parametrize("advice", UNSEEN)
def test_a_gpu_that_torch_does_not_see(advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A script stands in for nvidia-smi, and lists a GPU with MIG."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H100 PCIe, 550.54.15, Enabled'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    UNSEEN[advice](monkeypatch)
    (gpu,) = devices.gpus()
    assert gpu.found == "NVIDIA H100 PCIe, driver 550.54.15, unseen by torch"
    assert gpu.advice.startswith(advice)
    assert not gpu.broken


def test_a_gpu_that_fails_ends_what_would_fold_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(device: torch.device) -> None:
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", failing)
    (gpu,) = devices.gpus()
    assert (gpu.found, gpu.broken) == ("CUDA error: no kernel image is available", True)
    assert "--device cpu" in gpu.advice


def test_small_and_shut_places_are_named(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 26, 0, 1 << 26))
    monkeypatch.setattr("foldcli.system_memory.available_bytes", lambda device: 1 << 30)
    memory, shared = machine.memory()
    assert (memory.found[:7], memory.advice[:14]) == ("1.0 of ", "little is free")
    assert "docker run --shm-size 8g" in shared.advice
    cached, working = machine.disks()
    assert cached.advice.startswith("too little for AlphaFold's parameters")
    assert working.advice == ""
    monkeypatch.setenv("FOLDCLI_HOME", str(tmp_path / "file" / "below"))
    (tmp_path / "file").write_text("")
    assert next(machine.disks()).advice == "cannot be written to: set FOLDCLI_HOME to a folder that you can write to"


def test_what_is_optional_has_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert [(tool.what, tool.found, tool.state) for tool in installed_data.tools()] == [
        (name, "none", "note") for name in ("mmseqs", "openmm", "pdbfixer", "tensorboard")
    ]
    assert "pip install 'foldcli[relax]'" in list(installed_data.tools())[1].advice


def test_a_python_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    assert next(machine.interpreter()).broken
