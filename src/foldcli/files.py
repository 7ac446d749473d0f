"""Files that appear whole or not at all."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from foldcli.errors import FoldcliError, InputError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def require_writable(path: Path | None) -> Path | None:
    """The path of a file that is written after long work; InputError, before it, if that could not be."""
    if path is None:
        return path
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it, or name another file")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: not writable; change the permissions of {path.parent}, or name another file")
    return path


def write_atomic(path: Path, data: str | bytes | Iterable[str]) -> None:
    """Write `data`, or all its parts, to `path` in one step; FoldcliError if that fails, and an earlier file stays.

    Text is written as UTF-8, with `?` for bytes of a file's name that are none.
    """
    with atomic_file(path) as file:
        for part in [data] if isinstance(data, str | bytes) else data:
            file.write(part.encode("utf-8", "replace") if isinstance(part, str) else part)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that is renamed to `path` when the block succeeds and deleted when it fails.

    FoldcliError: no permission, a full disk, or any other OSError in the block.
    """
    try:
        with atomic(path) as draft, draft.open("xb") as file:
            yield file
    except OSError as error:
        raise FoldcliError(_explain(path, error)) from error


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """The path of a draft beside `path`, which the block writes: renamed to `path` at its end, deleted if it fails."""
    # The same folder, since a rename is atomic within one file system only; a short name, since `path` may use all 255.
    draft = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        yield draft
        settle(draft, path)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def settle(draft: Path, path: Path) -> None:
    """Rename a finished draft to `path` once its bytes are on the disk, so that a crash leaves no empty file."""
    with draft.open("rb+") as handle:
        os.fsync(handle.fileno())
    draft.replace(path)


def is_full(error: OSError) -> bool:
    """Whether an error means that the disk is full or a quota is used up."""
    return error.errno in _FULL


def _explain(path: Path, error: OSError) -> str:
    if is_full(error):
        return f"{path}: disk full; free some space or write to another folder"
    if error.errno in _REFUSED:
        return f"{path}: not writable; change the permissions of {path.parent} or write to another folder"
    return f"{path}: cannot be written ({error.strerror or error}); write to another folder"
