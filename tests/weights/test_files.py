"""Parameter files that are intact, damaged, or made to run code."""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foldcli.errors import WeightsError
from foldcli.weights.files import read_metadata, read_npz, read_safetensors, read_state_dict, sha256, write_safetensors
from tests.weights.conftest import npz_bytes

TENSORS = {"trunk.weight": torch.arange(6.0).reshape(2, 3), "trunk.bias": torch.ones(3, dtype=torch.bfloat16)}


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_npz_gives_back_what_was_saved(tmp_path):
    arrays = {"a/b//weights": np.arange(6, dtype=np.float32).reshape(2, 3), "a//scale": np.float32(2.0)}
    np.savez(tmp_path / "p.npz", **arrays)
    found = read_npz(tmp_path / "p.npz")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[key], arrays[key]) for key in arrays)


def test_npz_is_never_unpickled(tmp_path, one_line):
    np.savez(tmp_path / "p.npz", a=np.array([Trap(tmp_path / "sprung")], dtype=object))
    with pytest.raises(WeightsError) as caught:
        read_npz(tmp_path / "p.npz")
    assert "p.npz: 'a.npy' holds pickled Python objects" in one_line(caught.value)
    (tmp_path / "q.npz").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(WeightsError, match="not an npz file"):
        read_npz(tmp_path / "q.npz")
    assert not (tmp_path / "sprung").exists()


def test_npz_without_numbers_is_refused(tmp_path):
    np.savez(tmp_path / "text.npz", a=np.array(["x"]))
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    np.savez(tmp_path / "empty.npz")
    for name, reason in (("text", "not numbers"), ("other", "damaged at 'readme.txt'"), ("empty", "no arrays")):
        with pytest.raises(WeightsError, match=reason):
            read_npz(tmp_path / f"{name}.npz")


@settings(max_examples=200, deadline=None)
@given(st.data())
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::UserWarning")  # of numpy, at a damaged header
def test_damaged_npz_is_refused_or_unharmed(tmp_path_factory, data):
    """Truncation is always noticed; a flipped byte too, unless it is one that is never read."""
    path, whole = tmp_path_factory.getbasetemp() / "damaged.npz", npz_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:at])
        with pytest.raises(WeightsError):
            read_npz(path)
        return
    path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
    (sound,) = npz_values(whole, path.with_name("sound.npz")).values()
    try:
        (found,) = read_npz(path).values()
    except WeightsError:
        return
    assert np.array_equal(found, sound)


def npz_values(content: bytes, path: Path) -> dict[str, np.ndarray]:
    path.write_bytes(content)
    return read_npz(path)


@pytest.mark.parametrize("read", [read_npz, read_safetensors, read_metadata, read_state_dict, sha256])
def test_missing_file_and_folder_are_named(read, tmp_path, one_line):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(WeightsError) as caught:
            read(path)
        assert one_line(caught.value).startswith(f"{path}: ")


def test_safetensors_give_back_tensors_and_notes(tmp_path):
    path = tmp_path / "new" / "p.safetensors"
    stack = torch.arange(8.0).reshape(2, 4)
    write_safetensors(path, TENSORS | {"first": stack[0], "last": stack[1].t(), "all": stack.t()}, {"preset": "tiny"})
    found = read_safetensors(path)
    assert torch.equal(found["trunk.bias"], TENSORS["trunk.bias"])
    assert torch.equal(found["all"], stack.t())
    assert read_metadata(path) == {"preset": "tiny"}
    assert list(path.parent.iterdir()) == [path]
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "p.safetensors"
    write_safetensors(path, TENSORS, {})
    before = path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match=r"p\.safetensors: cannot be written .*No space left"):
        write_safetensors(path, {"a": torch.zeros(1)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_truncated_safetensors_and_checkpoints_are_refused(tmp_path, one_line, keep):
    write_safetensors(tmp_path / "p.safetensors", TENSORS, {})
    torch.save(TENSORS, tmp_path / "p.pt")
    for name, read in (("p.safetensors", read_safetensors), ("p.pt", read_state_dict)):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(WeightsError) as caught:
            read(path)
        assert "truncated" in one_line(caught.value)


LAYOUTS = {
    "bare": lambda t: t,
    "module": lambda t: {f"module.{key}": value for key, value in t.items()},
    "lightning": lambda t: {"epoch": 3, "state_dict": OrderedDict((f"model.{key}", value) for key, value in t.items())},
    "ema": lambda t: {"ema": {"params": t, "decay": 0.999}, "state_dict": {k: torch.zeros(1) for k in t}},
}


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_checkpoint_is_read(tmp_path, layout, old_format):
    path = tmp_path / "p.pt"
    torch.save(LAYOUTS[layout](TENSORS), path, _use_new_zipfile_serialization=not old_format)
    found = read_state_dict(path)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)


def test_deepspeed_folder_is_read(tmp_path):
    (tmp_path / "latest").write_text("step10\n")
    (tmp_path / "step10").mkdir()
    wrapped = {f"module.model.{key}": value for key, value in TENSORS.items()}
    torch.save({"module": wrapped, "global_steps": 10}, tmp_path / "step10" / "mp_rank_00_model_states.pt")
    assert read_state_dict(tmp_path).keys() == TENSORS.keys()


def test_checkpoint_is_never_unpickled(tmp_path, one_line):
    torch.save({"a": torch.zeros(1), "b": Trap(tmp_path / "sprung")}, tmp_path / "p.pt")
    (tmp_path / "q.pt").write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol=2))
    for name, reason in (("p.pt", "holds Python objects besides tensors"), ("q.pt", "not a torch checkpoint")):
        with pytest.raises(WeightsError) as caught:
            read_state_dict(tmp_path / name)
        assert reason in one_line(caught.value)
    assert not (tmp_path / "sprung").exists()
    torch.save({"lr": 0.1, "list": [torch.zeros(1)]}, tmp_path / "r.pt")
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_state_dict(tmp_path / "r.pt")
