"""A local MSA server that answers as a test plans, correctly or not."""

import contextlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

UNIREF, ENVIRONMENT = "uniref.a3m", "bfd.mgnify30.metaeuk30.smag30.a3m"
HANG, COMPLETE = "HANG", "COMPLETE"


@dataclass
class Plan:
    """The server's answers, in order, the last one repeated: a ticket's state, a status code or raw bytes.

    archive: the download; archives: in its place, that of each ticket; announced: a Content-Length larger than the
    archive; slow: seconds before each byte; headers: so many lines, each after `slow`, come before each answer; forms,
    agents and paths: the requests received.
    """

    url: str = ""
    submissions: list[str | int | bytes] = field(default_factory=lambda: ["PENDING"])
    states: list[str | int | bytes] = field(default_factory=lambda: ["RUNNING", COMPLETE])
    archive: bytes = b""
    archives: list[bytes] = field(default_factory=list)
    announced: int = 0
    slow: float = 0.0
    headers: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    forms: list[dict[str, list[str]]] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    paths: list[str] = field(default_factory=list)

    @property
    def numbers(self) -> list[str]:
        """The record number of each query submitted."""
        return [form["q"][0].split("\n")[0] for form in self.forms]


class Handler(BaseHTTPRequestHandler):
    plan: Plan

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.plan.forms.append(parse_qs(body))
        self._answer(self.plan.submissions)

    def do_GET(self) -> None:
        if self.path.startswith("/result/download/"):
            self._note()
            number = int(self.path.rpartition("-")[2])
            archive = self.plan.archives[number - 1] if self.plan.archives else self.plan.archive
            self._send(archive, self.plan.announced, self.plan.slow)
        else:
            self._answer(self.plan.states)

    def _answer(self, script: list[str | int | bytes]) -> None:
        self._note()
        answer = script.pop(0) if len(script) > 1 else script[0]
        if answer == HANG:
            self.plan.over.wait(10)
        elif isinstance(answer, int):
            self.send_error(answer)
        else:
            state = (
                json.dumps({"id": f"ticket-{len(self.plan.forms)}", "status": answer}).encode()
                if isinstance(answer, str)
                else answer
            )
            self._send(state)

    def _note(self) -> None:
        self.plan.agents.add(self.headers["User-Agent"])
        self.plan.paths.append(self.path)

    def _send(self, body: bytes, announced: int = 0, slow: float = 0.0) -> None:
        self.send_response(200)
        for number in range(self.plan.headers):
            if self.plan.over.wait(self.plan.slow):
                return
            self.send_header(f"X-{number}", "y")
            with contextlib.suppress(OSError):
                self.flush_headers()
        self.send_header("Content-Length", str(max(announced, len(body))))
        self.end_headers()
        with contextlib.suppress(OSError):
            if not slow:
                self.wfile.write(body)
                return
            for code in body:
                if self.plan.over.wait(slow):
                    return
                self.wfile.write(bytes([code]))

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving(plan: Plan) -> Iterator[Plan]:
    """Serve a plan within the block; yields it with the server's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("PlanHandler", (Handler,), {"plan": plan}))
    plan.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield plan
    finally:
        plan.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def tar_gz(files: dict[str, str], *others: tarfile.TarInfo) -> bytes:
    """An archive of files, and of other, unsafe members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
        for member in others:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()
