"""AlphaFold's tar archive of parameters, unpacked safely."""

import tarfile
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from foldcli.errors import WeightsError, first_line
from foldcli.files import is_full
from foldcli.weights.files import DamagedError, copy, counter, require_space

LICENSE_FILE = "LICENSE"
LICENSE_LIMIT = 1 << 20  # bytes; a larger file of that name is not the licence


def unpack(path: Path, wanted: Collection[str], folder: Path, progress: Callable[[int, int], None]) -> dict[str, str]:
    """Unpack the files named in `wanted`, and the licence, into `folder` without subfolders; their SHA-256 by name.

    WeightsError: not a tar archive, truncated, no space, or a member that is a link, a device or outside the folder.
    """
    try:
        with tarfile.open(path) as archive:
            members = _members(path, archive, wanted)
            total = sum(member.size for member in members.values())
            require_space(folder, total)
            return _extract(archive, members, folder, counter(total, progress))
    except OSError as error:
        if is_full(error):
            raise WeightsError(
                f"{folder}: the disk is full while {path} is unpacked; make room and try again"
            ) from error
        raise WeightsError(f"{path}: cannot be unpacked ({first_line(error)})") from error
    except WeightsError:
        raise
    except Exception as error:  # each compression raises errors of its own for a damaged stream
        raise DamagedError(f"{path}: not a tar archive, or truncated ({first_line(error)})") from error


def _members(path: Path, archive: tarfile.TarFile, wanted: Collection[str]) -> dict[str, tarfile.TarInfo]:
    members: dict[str, tarfile.TarInfo] = {}
    for member in archive.getmembers():
        _require_plain(path, member)
        name = PurePosixPath(member.name).name
        is_license = name == LICENSE_FILE and member.size <= LICENSE_LIMIT
        if member.isdir() or not (name in wanted or is_license):
            continue
        if name in members:
            raise DamagedError(f"{path}: '{name}' is in it twice")
        members[name] = member
    _require_end(path, archive)
    return members


def _require_plain(path: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    plain = member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
    if not plain or name.is_absolute() or ".." in name.parts:
        kind = "leads out of its folder" if plain else "is a link or a device"
        raise DamagedError(f"{path}: member {member.name!r} {kind}, so nothing was unpacked")


def _require_end(path: Path, archive: tarfile.TarFile) -> None:
    # tarfile takes a cut between two members, or garbage after one, as the end of the archive.
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise DamagedError(f"{path}: truncated, its end mark is missing")


def _extract(
    archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], folder: Path, heard: Callable[[int], None]
) -> dict[str, str]:
    sums: dict[str, str] = {}
    for name, member in members.items():
        stream = archive.extractfile(member)
        assert stream is not None  # regular files have a stream
        with stream:
            sums[name] = copy(stream, folder / name, heard)
    return sums
