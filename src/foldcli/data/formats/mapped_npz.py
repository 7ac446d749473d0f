"""Arrays of an .npz file, mapped from the disk where they lie there as they are."""

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

# Of a zip member's local header, and where the lengths of the two fields behind it stand in it.
HEADER, LENGTHS = 30, slice(26, 30)
AT_ONCE = 2**20


def open_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name; those stored without compression are mapped and cost no memory of their own.

    InputError: no such file, no .npz, cut.
    """
    with _archive(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        return {member.filename.removesuffix(".npy"): _open(path, archive, member) for member in members}


def unpacked(path: Path) -> Path:
    """The file itself, or a copy without compression that is there until this process ends, for others to map too.

    InputError: what `open_arrays` finds, no room for the copy.
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
    """Where a member's bytes begin: its local header has a length of its own."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        name, extra = np.frombuffer(file.read(HEADER)[LENGTHS], "<u2")
    return member.header_offset + HEADER + int(name) + int(extra)
