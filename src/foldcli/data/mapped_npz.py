"""Arrays of an .npz file, mapped from the disk where they lie there as they are."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldcli.errors import InputError

# Of a zip member's local header, and where the lengths of the two fields behind it stand in it.
HEADER, LENGTHS = 30, slice(26, 30)


def open_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name; those stored without compression are mapped and cost no memory of their own.

    Compressed ones are unpacked at once, so that forked processes share them. InputError: no such file, no .npz, cut.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            return {member.filename.removesuffix(".npy"): _open(path, archive, member) for member in members}
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
