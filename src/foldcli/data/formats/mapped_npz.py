"""Memory-map the arrays of an .npz file where they are stored without compression."""

import atexit
import contextlib
import secrets
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldcli.errors import InputError

# A zip member's local header: its size, and the position of the lengths of the two fields that follow it.
HEADER, LENGTHS = 30, slice(26, 30)
AT_ONCE = 2**20


def open_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Open the arrays of a file by name; those stored without compression are memory-mapped.

    InputError: no such file, not an .npz file, truncated.
    """
    with _archive(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        return {member.filename.removesuffix(".npy"): _open(path, archive, member) for member in members}


def unpacked(path: Path) -> Path:
    """The file itself, or an uncompressed copy that other processes can map too and that is deleted at exit.

    InputError: as in `open_arrays`, or no space for the copy.
    """
    with _archive(path) as archive:
        if all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist()):
            return path
        copy = _scratch() / f"{secrets.token_hex(8)}.npz"
        with zipfile.ZipFile(copy, "x") as out:
            for member in archive.infolist():
                with archive.open(member) as packed, out.open(member.filename, "w", force_zip64=True) as plain:
                    shutil.copyfileobj(packed, plain, AT_ONCE)
    return copy


@cache
def _scratch() -> Path:
    folder = tempfile.mkdtemp(prefix="foldcli-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError) as error:
        raise InputError(f"{path}: is no whole .npz file ({error}); make it again") from None


def _open(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        if member.compress_type != zipfile.ZIP_STORED:
            return np.lib.format.read_array(file, allow_pickle=False)
        np.lib.format.read_magic(file)
        shape, transposed, dtype = np.lib.format.read_array_header_1_0(file)
        header = file.tell()
    if dtype.hasobject or transposed or not np.prod(shape):
        with archive.open(member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    return np.memmap(path, dtype, mode="r", offset=_start(path, member) + header, shape=shape)


def _start(path: Path, member: zipfile.ZipInfo) -> int:
    """Offset of a member's bytes, which follow a local header of variable length."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        name, extra = np.frombuffer(file.read(HEADER)[LENGTHS], "<u2")
    return member.header_offset + HEADER + int(name) + int(extra)
