"""A cache folder of its own, small parameter files, and a real HTTP server whose faults a test can choose."""

import contextlib
import io
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOLDCLI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "home"


def npz_bytes(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    values = np.random.default_rng(seed).standard_normal((4, 8)).astype(np.float32)
    np.savez(buffer, **{"alphafold/alphafold_iteration/evoformer/left_single//weights": values})
    return buffer.getvalue()


def tar_bytes(files: dict[str, bytes], *members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return buffer.getvalue()


@dataclass
class Site:
    """What a server offers and how it fails; `asked` and `served` record every request and answer."""

    content: bytes = b""
    url: str = ""
    etag: str = '"one"'
    ranges: bool = True
    heeds_version: bool = True  # whether an outdated If-Range is answered with the whole file, as it should be
    statuses: list[int] = field(default_factory=list)  # answers to give before the real one
    cuts: list[int] = field(default_factory=list)  # bytes of the body after which to close, one per request
    gate: threading.Event | None = None  # a body is held back until it is set
    asked: list[dict[str, str]] = field(default_factory=list)

    def start_of(self, headers: dict[str, str]) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        same = not self.heeds_version or headers.get("If-Range") == self.etag
        return int(match[1]) if match and self.ranges and same else 0


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        headers = dict(self.headers)
        self.site.asked.append(headers)
        if self.site.statuses:
            self.send_error(self.site.statuses.pop(0))
            return
        start, total = self.site.start_of(headers), len(self.site.content)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(total - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if self.site.etag:
            self.send_header("ETag", self.site.etag)
        self.end_headers()
        if self.site.gate:
            self.site.gate.wait(10)
        body = self.site.content[start:]
        with contextlib.suppress(OSError):
            self.wfile.write(body[: self.site.cuts.pop(0)] if self.site.cuts else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    offered = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": offered}))
    offered.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield offered
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def one_line() -> Callable[[BaseException], str]:
    """An error's message, which must be one line."""

    def message(error: BaseException) -> str:
        assert "\n" not in str(error)
        return str(error)

    return message
