"""HTTP requests, with failures that may pass told apart from final ones."""

import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from typing import IO, Any
from urllib.parse import urlsplit

from foldcli import __version__
from foldcli.errors import first_line

# HTTP statuses of failures that may pass.
RETRIED = (408, 425, 429, 500, 502, 503, 504)


class BrokenError(Exception):
    """The connection or the server failed in a way that may pass; `reached`: whether the server had answered at all."""

    def __init__(self, reason: str, reached: bool = True) -> None:
        super().__init__(reason)
        self.reached = reached


class RefusedError(Exception):
    """The server will never answer this request; `code` is the HTTP status, 0 where there is none."""

    def __init__(self, reason: str, code: int = 0) -> None:
        super().__init__(reason)
        self.code = code


def ask(url: str, headers: dict[str, str], timeout: float, form: bytes | None = None) -> http.client.HTTPResponse:
    """Open `url`, as a POST if there is a form. BrokenError, RefusedError.

    timeout: seconds without a byte; the headers must have come after twice as many, however they trickle in.
    """
    try:
        sent = {"User-Agent": f"foldcli/{__version__}", "Accept-Encoding": "identity"} | headers
        request = urllib.request.Request(url, form, sent)
        return _within(2 * timeout, lambda: _opener().open(request, timeout=timeout))
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"the server answered {error.code} {error.reason}"
        raise BrokenError(reason) if error.code in RETRIED else RefusedError(reason, error.code) from error
    except urllib.error.URLError as error:
        raise BrokenError(str(error.reason), reached=False) from error
    except (http.client.InvalidURL, ValueError) as error:
        raise RefusedError(f"not an address ({first_line(error)})") from error
    except (http.client.HTTPException, OSError) as error:
        raise BrokenError(first_line(error)) from error


def _within(seconds: float, opened: Callable[[], http.client.HTTPResponse]) -> http.client.HTTPResponse:
    """What `opened` returns, in a thread of its own; TimeoutError after so many seconds."""
    answer: Future[http.client.HTTPResponse] = Future()

    def work() -> None:
        try:
            answer.set_result(opened())
        except Exception as error:  # raised again below
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        if answer.done():
            raise
        answer.add_done_callback(_close)
        raise TimeoutError(f"no whole answer in {seconds:g} s") from None


def _close(late: Future[http.client.HTTPResponse]) -> None:
    if not late.exception():
        late.result().close()


def read_some(answer: http.client.HTTPResponse, most: int) -> bytes:
    """The next bytes of an answer, at most `most`, none at its end; BrokenError if the connection breaks off."""
    try:
        return answer.read1(most)
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise BrokenError(first_line(error)) from error


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    # An https address that redirects to http would send the request where anybody can read or change it.
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https" and req.type == "https":
            raise RefusedError(f"leads to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()  # the default one would also open ftp addresses and local files
    for handler in (
        urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler, _NoDowngrade,
        urllib.request.UnknownHandler, urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPErrorProcessor,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener
