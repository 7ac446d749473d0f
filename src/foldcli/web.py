"""HTTP requests, with failures that may pass told apart from final ones."""

import http.client
import urllib.error
import urllib.request
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
    """Open `url`, as a POST if there is a form; `timeout`: seconds without a byte. BrokenError, RefusedError."""
    try:
        sent = {"User-Agent": f"foldcli/{__version__}", "Accept-Encoding": "identity"} | headers
        answer: http.client.HTTPResponse = _opener().open(urllib.request.Request(url, form, sent), timeout=timeout)
        return answer
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
