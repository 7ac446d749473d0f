"""Download of a large file over HTTP: resumed after an interruption, locked, and verified before it gets its name."""

import contextlib
import http.client
import json
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from foldcli.errors import WeightsError, first_line
from foldcli.files import is_full, settle
from foldcli.web import BrokenError, RefusedError, ask, read_some
from foldcli.weights.files import BLOCK, MAKE_ROOM, Progress, amount, require_space, sha256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long to keep trying."""

    timeout: float = 30.0  # seconds without a byte
    failures: int = 6  # in a row without progress
    pause: float = 1.0  # seconds before the first retry, doubled each time


@dataclass(frozen=True)
class Remote:
    """What the server says of the file."""

    url: str
    version: str = ""  # ETag or date of modification; empty if unknown
    size: int | None = None  # bytes


def download(
    url: str,
    path: Path,
    *,
    expected: str = "",
    reserve: float = 0.0,
    progress: Progress | None = None,
    patience: Patience = Patience(),
) -> str:
    """Download `url` to `path` and return its SHA-256; an interrupted download is resumed from its `.part` file.

    expected: the SHA-256 that it must have; an existing file is kept if it has it, or if `expected` is empty.
    reserve: disk space to keep free, as a fraction of the file's size. WeightsError: offline, refused, interrupted
    again and again, another SHA-256, no space.
    """
    name_of(url)
    with held(path):
        if path.is_file() and expected.lower() in ("", found := sha256(path)):
            return found
        part = Part(path, url)
        _persist(part, reserve, progress or (lambda done, total: None), patience)
        found = sha256(part.path)
        if expected and found != expected.lower():
            part.discard()
            raise WeightsError(f"{url}: SHA-256 is {found}, expected {expected.lower()}; what came was thrown away")
        settle(part.path, path)
        part.discard()
        return found


def name_of(url: str) -> str:
    """The file name at the end of a URL; WeightsError if it is not an http or https URL of a file."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    name = Path(unquote(urlsplit(url).path)).name if sound else ""
    if not name:
        way_out = "for a file at hand use `foldcli weights import PATH`"
        raise WeightsError(f"{url}: not an http or https address of a file; {way_out}")
    return name


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Make the folder of `path`, and hold a lock on `path` against other threads and processes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f"{path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.warning("%s: another process is at it; waiting for it to end", path)
            lock.acquire()
    except OSError as error:
        way_out = "set FOLDCLI_HOME to a folder you can write to"
        raise WeightsError(f"{path.parent}: cannot be written ({first_line(error)}); {way_out}") from error
    try:
        yield
    finally:
        lock.release()


class Part:
    """The `.part` file with the bytes received so far, and a note beside it of the version that they belong to."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self.note = path.with_name(f"{path.name}.part.json")
        self.url = url

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def remote(self) -> Remote:
        """The version that the part belongs to, from its note; unknown if the note is unreadable or of another URL."""
        try:
            known = Remote(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Remote(self.url)
        return known if known.url == self.url else Remote(self.url)

    def begin(self, remote: Remote, start: int) -> None:
        """Keep the first `start` bytes and write the note of their version."""
        # Truncate first: if killed in between, old bytes must not be taken for the new version's.
        with self.path.open("ab") as handle:
            handle.truncate(start)
        self.note.write_text(json.dumps(asdict(remote)), encoding="utf-8")

    def discard(self) -> None:
        """Delete the part and its note."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def open(self) -> IO[bytes]:
        """The part opened to append; unbuffered, so that `size` counts every byte written."""
        return self.path.open("ab", buffering=0)


def _persist(part: Part, reserve: float, progress: Progress, patience: Patience) -> None:
    """Download, retrying after temporary failures with growing pauses as long as bytes keep coming."""
    failures, most, reached = 0, part.size, False
    while True:
        try:
            return _attempt(part, reserve, progress, patience.timeout)
        except BrokenError as error:
            reached = reached or error.reached
            failures, most = (1 if part.size > most else failures + 1), max(most, part.size)
            if not reached:
                raise WeightsError(f"{part.url}: cannot be reached ({error}); {advice_offline(part.url)}") from error
            if failures >= patience.failures:
                raise WeightsError(_gave_up(part, failures, error)) from error
            log.warning("%s: %s; trying again", part.url, error)
            time.sleep(min(60.0, patience.pause * 2 ** (failures - 1)))


def advice_offline(url: str) -> str:
    """What to do without a network."""
    name = name_of(url)
    return f"without a network, bring {name} or AlphaFold's params_model_*.npz and run `foldcli weights import {name}`"


def _gave_up(part: Part, failures: int, error: Exception) -> str:
    size = part.remote().size
    kept = f"{amount(part.size)} of {amount(size) if size else 'an unknown size'} are kept in {part.path}"
    return f"{part.url}: failed {failures} times in a row ({error}); {kept}, run the command again to go on"


def _attempt(part: Part, reserve: float, progress: Progress, timeout: float) -> None:
    known = part.remote()
    # Without a version, nothing says that the rest would be of the same file.
    asked = part.size if known.version else 0
    if known.size is not None and asked == known.size:
        return
    with _request(part, asked, known, timeout) as answer:
        start, remote = _remote(answer, part.url)
        if start and (start != asked or _differ(remote, known)):
            part.discard()
            raise BrokenError("the file at the other end has changed")
        if remote.size is None and not answer.chunked:
            raise WeightsError(f"{part.url}: the server does not say how large the file is; {advice_offline(part.url)}")
        if remote.size is not None:
            require_space(part.path.parent, int(remote.size * (1 + reserve)) - start)
        _receive(part, start, known if start else remote, answer, progress)
    if remote.size is not None and part.size != remote.size:
        raise BrokenError(f"the connection ended at byte {part.size} of {remote.size}")


def _differ(remote: Remote, known: Remote) -> bool:
    """Whether the version or size, where both state it, differs; a partial answer may leave out its date."""
    versions, sizes = {remote.version, known.version} - {""}, {remote.size, known.size} - {None}
    return len(versions) > 1 or len(sizes) > 1


def _receive(part: Part, start: int, remote: Remote, answer: http.client.HTTPResponse, progress: Progress) -> None:
    try:
        part.begin(remote, start)
        with part.open() as handle:
            while block := read_some(answer, BLOCK):
                _write(handle, block)
                start += len(block)
                progress(start, remote.size)
    except OSError as error:
        if not is_full(error):
            raise WeightsError(f"{part.path}: cannot be written ({first_line(error)})") from error
        missing = f"{amount(remote.size - part.size)} of {amount(remote.size)}" if remote.size else "the rest"
        raise WeightsError(
            f"{part.path}: the disk is full, {missing} are missing; {MAKE_ROOM}, then run the command again to go on"
        ) from error


def _write(handle: IO[bytes], block: bytes) -> None:
    rest = memoryview(block)
    while rest:  # an unbuffered write may write only some of it
        rest = rest[handle.write(rest) :]


def _request(part: Part, start: int, known: Remote, timeout: float) -> http.client.HTTPResponse:
    try:
        return ask(part.url, {"Range": f"bytes={start}-", "If-Range": known.version} if start else {}, timeout)
    except RefusedError as error:
        if error.code == 416 and start:
            part.discard()
            raise BrokenError("the server has no such part of the file") from error
        raise WeightsError(f"{part.url}: {error}; {advice_offline(part.url)}") from error


def _remote(answer: http.client.HTTPResponse, url: str) -> tuple[int, Remote]:
    """The byte at which an answer starts, and the whole file's version and size, from its headers."""
    etag = answer.headers.get("ETag", "")
    # A weak ETag (W/...) does not promise the same bytes.
    version = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")
    if answer.status != 206:
        length = answer.headers.get("Content-Length", "")
        return 0, Remote(url, version, int(length) if length.isdecimal() else None)
    whole = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if whole is None:
        raise BrokenError("the server sent a part of the file without saying which")
    return int(whole[1]), Remote(url, version, int(whole[2]))
