"""Where launch parameters come from, and that a damaged cache file only causes a warning."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from foldcli_kernels import tuning

OWN = {"block": 16, "num_warps": 4}
CUDA, BF16 = torch.device("cuda", 0), torch.bfloat16


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give each test its own FOLDCLI_HOME and shipped defaults, on a machine that claims to have an H100."""
    monkeypatch.setenv("FOLDCLI_HOME", str(tmp_path))
    monkeypatch.setattr(tuning, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    tuning.declare("fold", OWN, by_dtype={torch.float32: {"block": 8, "num_warps": 2}})
    tuning.forget()
    yield tmp_path
    del tuning.declared["fold"]
    tuning.forget()


def _ask(length: int = 256, dtype: torch.dtype = BF16, device: torch.device = CUDA) -> tuning.Parameters:
    return tuning.launch_parameters("fold", dtype, tuning.size_class(length), device)


def _table(block: int, size: str = "256") -> tuning.Table:
    return {"fold": {"bfloat16": {size: {"block": block, "num_warps": 8}}}}


@pytest.mark.parametrize(("length", "size"), [(1, "16"), (16, "16"), (17, "32"), (256, "256"), (257, "512")])
def test_size_classes_are_powers_of_two(length: int, size: str) -> None:
    assert tuning.size_class(length) == size


def test_kernels_own_parameters_by_dtype() -> None:
    assert _ask() == OWN
    assert _ask(dtype=torch.float32)["block"] == 8
    with pytest.raises(KeyError):
        tuning.launch_parameters("nowhere", BF16, "256", CUDA)


def test_tuned_come_before_shipped_before_own(home: Path) -> None:
    tuning.write(home / "shipped" / "sm_90.json", _table(32))
    assert _ask()["block"] == 32
    tuning.record(_table(64), CUDA)
    assert _ask()["block"] == 64
    assert _ask(device=torch.device("cpu"))["block"] == 16
    with tuning.forced("fold", {"block": 128}):
        assert _ask() == {"block": 128, "num_warps": 4}
    assert _ask()["block"] == 64


def test_nearest_size_class_is_taken() -> None:
    tuning.record(_table(32, "128"), CUDA)
    tuning.record(_table(64, "1024"), CUDA)
    assert [_ask(n)["block"] for n in (16, 256, 512, 4096)] == [32, 32, 64, 64]


def test_parameters_for_another_version_of_a_kernel_are_passed_over() -> None:
    tuning.record({"fold": {"bfloat16": {"256": {"tile": 64}}}}, CUDA)
    assert _ask() == OWN


def test_recording_keeps_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    tuning.record(_table(32), CUDA)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    path = tuning.record(_table(64), CUDA)
    assert json.loads(path.read_text()) == {"NVIDIA H100": _table(32), "NVIDIA A100": _table(64)}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_failed_write_leaves_the_file_as_it_was() -> None:
    path = tuning.record(_table(32), CUDA)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        tuning.write(path, {"fold": object()})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"NVIDIA H100": {"fold": {"bfloat16": {"256": {"block": "64"}}}}}'])
def test_damaged_file_is_ignored_with_one_warning(caplog: pytest.LogCaptureFixture, damage: str) -> None:
    tuning.write(tuning.cache_file(), {})
    tuning.cache_file().write_text(damage)
    with caplog.at_level(logging.WARNING):
        assert [_ask(n) for n in (16, 256, 512)] == [OWN] * 3
    assert len(caplog.messages) == 1
    assert str(tuning.cache_file()) in caplog.messages[0]


def test_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOLDCLI_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert tuning.cache_file() == Path("/cache/foldcli/launch/tuned.json")


def test_shipped_parameters_name_declared_kernels() -> None:
    assert tuning.shipped("sm_80").keys() <= tuning.declared.keys()
