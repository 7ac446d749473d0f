"""Read the archive in which ColabFold's server sends alignments, in memory, with nothing written to disk."""

import gzip
import io
import tarfile
from collections.abc import Sequence
from pathlib import PurePosixPath

from foldcli.errors import FoldcliError, first_line

# In the order in which AlphaFold joins its searches, UniRef first.
ALIGNMENTS = ("uniref.a3m", "bfd.mgnify30.metaeuk30.smag30.a3m")
PAIRS = ("pair.a3m",)  # of a complex's sequences, with NUL between them
LARGEST = 1 << 29


class _Bounded(io.RawIOBase):
    """A stream limited to `LARGEST` bytes, against decompression bombs."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self.stream, self.left = stream, LARGEST

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise FoldcliError(f"unpacks to more than {LARGEST >> 20} MiB")
        return data


def members(archive: bytes, server: str, names: Sequence[str]) -> dict[str, str]:
    """The alignments of these names in an archive; FoldcliError, naming the server: it is damaged, unsafe or has none.

    names: the first of them is always there.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(archive)) as unpacked:
            found = _members(_Bounded(unpacked), names)
            unpacked.read()  # the checksum is compared at the end only
    except FoldcliError as error:
        raise FoldcliError(f"{server}: its archive {error}") from None
    except Exception as error:  # a damaged stream raises exceptions of many types
        raise FoldcliError(f"{server}: its archive is damaged ({first_line(error)})") from error
    if names[0] not in found:
        raise FoldcliError(f"{server}: its archive has no {names[0]}")
    return {name: found[name] for name in names if name in found}


def _members(stream: _Bounded, names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
                raise FoldcliError(f"has a member {member.name[:80]!r} that leads elsewhere")
            if name.name in names and (file := tar.extractfile(member)):
                found[name.name] = file.read().decode("utf-8", "replace")
    return found
