"""Read text files of the user, or say why that cannot be done."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from foldcli.errors import InputError

GZIP = b"\x1f\x8b"
# Control characters that text files do not contain; 1 separates merged headers of NCBI's databases.
CONTROLS = {*range(2, 9), *range(14, 32)}


def read_text(path: Path, separator: bool = False) -> str:
    """Read a text file, line ends as `\\n`; `separator` allows NUL, which separates alignments of ColabFold's server.

    InputError: no such file, not readable, empty, compressed, not a text file.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if data.startswith(GZIP):
        raise InputError(f"{path}: is compressed; unpack it first")
    if not set(data).isdisjoint(CONTROLS) or (b"\0" in data and not separator):
        raise InputError(f"{path}: is not a text file")
    text = data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip("\0 \t\n"):
        raise InputError(f"{path}: is empty")
    return text


def list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """List a folder's files that end in one of `suffixes`, sorted; InputError if the folder cannot be read.

    Hidden files are passed over: macOS puts `._a.fasta` beside `a.fasta` into archives.
    """
    try:
        files = [file for file in folder.iterdir() if not file.name.startswith(".")]
        return sorted(file for file in files if file.suffix.lower() in suffixes and file.is_file())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from None


def list_folders(folder: Path) -> list[Path]:
    """List the folders in a folder, sorted, without hidden ones; InputError if it cannot be read."""
    try:
        return sorted(inside for inside in folder.iterdir() if inside.is_dir() and not inside.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def utf8_name(path: Path) -> Iterator[str]:
    """A name for a file that a library which takes UTF-8 alone can open: its own, or that of a link to the file."""
    plain = str(path).encode("utf-8", "replace").decode("utf-8")
    if plain == str(path):
        yield plain
        return
    with tempfile.TemporaryDirectory(prefix="foldcli-") as folder:
        link = Path(folder) / Path(plain).name
        link.symlink_to(path.absolute())
        yield str(link)
