import errno
import os
from pathlib import Path

import pytest

from foldcli.errors import FoldcliError
from foldcli.files import atomic_file, write_atomic


def test_replaces_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".json")  # a name close to what file systems allow
    write_atomic(path, "old")
    write_atomic(path, "Å")
    assert path.read_text(encoding="utf-8") == "Å"
    write_atomic(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSPC, "disk full"), (errno.EACCES, "not writable"), (errno.EROFS, "not writable"), (errno.EIO, "error")],
)
def test_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    path = tmp_path / "scores.json"
    write_atomic(path, "old")

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(FoldcliError, match=message) as caught:
        write_atomic(path, "new")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FoldcliError, match=r"gone.a\.pdb: cannot be written \(No such file"):
        write_atomic(tmp_path / "gone" / "a.pdb", "text")


def test_interrupted_block_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic_file(tmp_path / "a.npz") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
