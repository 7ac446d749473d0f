"""Fetching a large file over HTTP: resumed after a cut, locked, checked, and there only when it is whole."""

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
    """How long to try: seconds without a byte, failures in a row without progress, first pause (doubled each time)."""

    timeout: float = 30.0
    failures: int = 6
    pause: float = 1.0


@dataclass(frozen=True)
class Remote:
    """What is known of the file at the other end: which version it is (ETag or date) and its size in bytes."""

    url: str
    version: str = ""
    size: int | None = None


def download(
    url: str,
    path: Path,
    *,
    expected: str = "",
    reserve: float = 0.0,
    progress: Progress | None = None,
    patience: Patience = Patience(),
) -> str:
    """Fetch `url` to `path` and return its SHA-256; what came before a cut lies in `.part` and is not fetched again.

    expected: the SHA-256 that it must have; a file that is there already is taken if it has it or if none is asked
    for. reserve: room to keep free besides, as a share of the file's size. Raises WeightsError: offline, refused,
    broken off again and again, another sum, no space.
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
    """Return the file name at the end of an address; WeightsError if it is no http or https address of a file."""
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
    """Hold the lock of `path` against other threads and processes; its folder is made if need be."""
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
    """What has come of a file so far, and a note beside it of which version that is a part of."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self.note = path.with_name(f"{path.name}.part.json")
        self.url = url

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def remote(self) -> Remote:
        """Return the version that the part belongs to; of an unreadable note or another address nothing is known."""
        try:
            known = Remote(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Remote(self.url)
        return known if known.url == self.url else Remote(self.url)

    def begin(self, remote: Remote, start: int) -> None:
        """Note the version and keep the first `start` bytes."""
        # First the cut, then the note: were it killed between the two, old bytes must not pass for the new version's.
        with self.path.open("ab") as handle:
            handle.truncate(start)
        self.note.write_text(json.dumps(asdict(remote)), encoding="utf-8")

    def discard(self) -> None:
        """Remove the part and its note."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def open(self) -> IO[bytes]:
        """Open the part to append to; unbuffered, so that its size is what has been written."""
        return self.path.open("ab", buffering=0)


def _persist(part: Part, reserve: float, progress: Progress, patience: Patience) -> None:
    """Attempt again after failures that may pass, with growing pauses, as long as bytes keep coming."""
    failures, most, reached = 0, part.size, False
    while True:
        try:
            return _attempt(part, reserve, progress, patience.timeout)
        except BrokenError as error:
            reached = reached or error.reached
            failures, most = (1 if part.size > most else failures + 1), max(most, part.size)
            if not reached:
                raise WeightsError(f"{part.url}: cannot be reached ({error}); {bring(part.url)}") from error
            if failures >= patience.failures:
                raise WeightsError(_gave_up(part, failures, error)) from error
            log.warning("%s: %s; trying again", part.url, error)
            time.sleep(min(60.0, patience.pause * 2 ** (failures - 1)))


def bring(url: str) -> str:
    """Say what to do without a network."""
    name = name_of(url)
    return f"without a network, bring {name} or AlphaFold's params_model_*.npz and run `foldcli weights import {name}`"


def _gave_up(part: Part, failures: int, error: Exception) -> str:
    size = part.remote().size
    kept = f"{amount(part.size)} of {amount(size) if size else 'an unknown size'} are kept in {part.path}"
    return f"{part.url}: failed {failures} times in a row ({error}); {kept}, run the command again to go on"


def _attempt(part: Part, reserve: float, progress: Progress, timeout: float) -> None:
    known = part.remote()
    # Without a version there is no telling whether the rest would be the rest of the same file.
    asked = part.size if known.version else 0
    if known.size is not None and asked == known.size:
        return
    with _request(part, asked, known, timeout) as answer:
        start, remote = _remote(answer, part.url)
        if start and (start != asked or _differ(remote, known)):
            part.discard()
            raise BrokenError("the file at the other end has changed")
        if remote.size is None and not answer.chunked:
            raise WeightsError(f"{part.url}: the server does not say how large the file is; {bring(part.url)}")
        if remote.size is not None:
            require_space(part.path.parent, int(remote.size * (1 + reserve)) - start)
        _receive(part, start, known if start else remote, answer, progress)
    if remote.size is not None and part.size != remote.size:
        raise BrokenError(f"the connection ended at byte {part.size} of {remote.size}")


def _differ(remote: Remote, known: Remote) -> bool:
    """Compare what both state: a partial answer may leave out its date."""
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
    while rest:  # an unbuffered write may take less than it was given
        rest = rest[handle.write(rest) :]


def _request(part: Part, start: int, known: Remote, timeout: float) -> http.client.HTTPResponse:
    try:
        return ask(part.url, {"Range": f"bytes={start}-", "If-Range": known.version} if start else {}, timeout)
    except RefusedError as error:
        if error.code == 416 and start:
            part.discard()
            raise BrokenError("the server has no such part of the file") from error
        raise WeightsError(f"{part.url}: {error}; {bring(part.url)}") from error


def _remote(answer: http.client.HTTPResponse, url: str) -> tuple[int, Remote]:
    """Read from an answer's headers at which byte it starts, and the version and size of the whole file."""
    etag = answer.headers.get("ETag", "")
    # A weak ETag promises the same meaning, not the same bytes.
    version = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")
    if answer.status != 206:
        length = answer.headers.get("Content-Length", "")
        return 0, Remote(url, version, int(length) if length.isdecimal() else None)
    whole = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if whole is None:
        raise BrokenError("the server sent a part of the file without saying which")
    return int(whole[1]), Remote(url, version, int(whole[2]))
