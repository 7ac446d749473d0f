"""Client of ColabFold's MSA server (Mirdita et al. 2022): submit a query, poll its ticket, download the archive."""

import contextlib
import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from foldcli.cache_folder import cache_folder
from foldcli.data.formats.alignment import join_a3m, parse_alignments
from foldcli.data.formats.complex_a3m import paired_rows
from foldcli.errors import FoldcliError, InputError
from foldcli.search.progress import SearchProgress
from foldcli.search.server_archive import ALIGNMENTS, PAIRS, members
from foldcli.web import BrokenError, RefusedError, ask, read_some
from foldcli.weights.download import held

PUBLIC = "https://api.colabfold.com"
MODE = "env"  # UniRef30 and environmental sequences, filtered
FIRST_NUMBER = 101
LARGEST_ANSWER, LARGEST_ARCHIVE = 1 << 16, 1 << 27
INSTEAD = "try again later, or search with --db"
STATES = ("PENDING", "RUNNING", "COMPLETE", "ERROR", "UNKNOWN", "RATELIMIT", "MAINTENANCE")


@dataclass(frozen=True)
class Deadlines:
    """Time limits, in seconds.

    silence: without a byte received; outage: without a valid response; ratelimit, pending, running, unknown: in this
    state of a ticket; download: of the archive; pause: before the first retry, doubled each time up to longest_pause.
    tickets: most tickets tried for a query.
    """

    silence: float = 30.0
    outage: float = 180.0
    ratelimit: float = 900.0
    pending: float = 3600.0
    running: float = 1800.0
    unknown: float = 60.0
    download: float = 600.0
    tickets: int = 3
    pause: float = 2.0
    longest_pause: float = 30.0


class LostTicketError(Exception):
    """A ticket failed, but a new one may succeed."""


class Unavailable(FoldcliError):
    """The server accepts no work at present."""


class Server:
    """A server, given one query at a time."""

    methods = ("alignment from the ColabFold server",)

    def __init__(self, host: str, deadlines: Deadlines = Deadlines()) -> None:
        self.host, self.deadlines = host.rstrip("/"), deadlines
        self.reached = False
        if urlsplit(self.host).scheme not in ("http", "https") or not urlsplit(self.host).netloc:
            raise InputError(f"--host-url {host}: not an http or https address, such as {PUBLIC}")

    def __str__(self) -> str:
        return self.host

    @property
    def settings(self) -> str:
        """Everything that determines the result; part of the cache key."""
        return json.dumps(["server", self.host, MODE])

    def search(self, sequence: str, progress: SearchProgress) -> str:
        """Find homologs of a sequence, as A3M with the sequence first; FoldcliError: the server failed or timed out."""
        with self._one_at_a_time():
            return self._checked(self._archive("msa", MODE, [sequence], progress), sequence)

    def search_pairs(self, sequences: Sequence[str], strategy: str, progress: SearchProgress) -> str:
        """Find homologs of several sequences that are paired by species, as `paired_rows` reads them; errors as above.

        strategy: greedy, where some of the sequences have partners, or complete, where all have.
        """
        with self._one_at_a_time():
            archive = self._archive("pair", f"pair{strategy}", sequences, progress)
            where = Path(urlsplit(self.host).netloc)
            text = members(archive, str(where), PAIRS)[PAIRS[0]]
            paired_rows(text, where / PAIRS[0], sequences)
            return text

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """One ticket at a time, and what to do instead in every error."""
        with held(cache_folder() / "alignments" / f"{urlsplit(self.host).hostname}.server"):
            try:
                yield
            except FoldcliError as error:
                raise type(error)(f"{error}; {INSTEAD}") from error

    def _archive(self, kind: str, mode: str, sequences: Sequence[str], progress: SearchProgress) -> bytes:
        """Submit until a ticket is COMPLETE, and download what it found. The records' numbers are part of the ticket's
        name: with new numbers the server searches again instead of returning the failed ticket."""
        lost = "none was drawn"
        for attempt in range(self.deadlines.tickets):
            first = FIRST_NUMBER + attempt * len(sequences)
            query = "".join(f">{number}\n{sequence}\n" for number, sequence in enumerate(sequences, start=first))
            try:
                ticket = self._submit(kind, {"q": query, "mode": mode}, progress)
                self._finish(ticket, progress)
                return self._download(ticket, progress)
            except LostTicketError as error:
                lost = str(error)
        raise FoldcliError(f"{self.host}: {self.deadlines.tickets} tickets came to nothing, the last because {lost}")

    def _submit(self, kind: str, query: Mapping[str, str], progress: SearchProgress) -> str:
        """Submit a query and return its ticket once the server accepts it."""
        for state, ticket in self._states(f"ticket/{kind}", urlencode(query).encode(), progress):
            if state in ("PENDING", "RUNNING", "COMPLETE"):
                return ticket
            if state in ("ERROR", "UNKNOWN"):
                raise LostTicketError(f"it answered {state} to the query")
        raise AssertionError("unreachable: states never end")

    def _finish(self, ticket: str, progress: SearchProgress) -> None:
        """Poll a ticket until it is COMPLETE."""
        for state, _ in self._states(f"ticket/{quote(ticket, safe='')}", None, progress):
            if state == "COMPLETE":
                return
            if state == "ERROR":
                raise LostTicketError("the search ended in ERROR")

    def _states(self, path: str, form: bytes | None, progress: SearchProgress) -> Iterator[tuple[str, str]]:
        """Poll the state and name of a ticket with growing pauses; each state has a time limit."""
        pause, present, since = self.deadlines.pause, "", time.monotonic()
        while True:
            state, ticket = self._state(path, form, progress)
            if state == "MAINTENANCE":
                raise Unavailable(f"{self.host}: is under maintenance")
            if state != present:
                pause, present, since = self.deadlines.pause, state, time.monotonic()
            yield state, ticket
            limit = getattr(self.deadlines, state.lower())
            if time.monotonic() - since > limit:
                self._too_long(state, limit)
            _wait(pause, state, progress)
            pause = min(2 * pause, self.deadlines.longest_pause)

    def _too_long(self, state: str, limit: float) -> None:
        reason = f"it was {state} for more than {limit:g} s"
        if state == "RATELIMIT":
            raise Unavailable(f"{self.host}: {reason}")
        raise LostTicketError(reason) if state in ("UNKNOWN", "RUNNING") else FoldcliError(f"{self.host}: {reason}")

    def _state(self, path: str, form: bytes | None, progress: SearchProgress) -> tuple[str, str]:
        text = self._fetch(path, form, LARGEST_ANSWER, self.deadlines.outage, progress)
        try:
            answer = json.loads(text)
            state, ticket = answer["status"], answer.get("id", "")
        except (ValueError, TypeError, KeyError, AttributeError):
            state = ticket = None
        if state not in STATES or not isinstance(ticket, str):
            raise FoldcliError(f"{self.host}: answered {text[:60]!r}, expected a ticket, as ColabFold's servers give")
        return state, ticket

    def _download(self, ticket: str, progress: SearchProgress) -> bytes:
        path = f"result/download/{quote(ticket, safe='')}"
        return self._fetch(path, None, LARGEST_ARCHIVE, self.deadlines.download, progress)

    def _fetch(self, path: str, form: bytes | None, most: int, within: float, progress: SearchProgress) -> bytes:
        """Fetch a response of at most `most` bytes; temporary failures are retried for `within` seconds."""
        url, pause, until = f"{self.host}/{path}", self.deadlines.pause, time.monotonic() + within
        while True:
            try:
                with ask(url, {}, self.deadlines.silence, form) as answer:
                    self.reached = True
                    return self._received(answer, most, until, progress)
            except RefusedError as error:
                raise FoldcliError(f"{url}: {error}") from error
            except BrokenError as error:
                self.reached = self.reached or error.reached
                if not self.reached:
                    raise Unavailable(f"{self.host}: cannot be reached ({error})") from error
                if time.monotonic() + pause > until:
                    raise Unavailable(f"{url}: no answer in {within:g} s ({error})") from error
                _wait(pause, str(error), progress)
                pause = min(2 * pause, self.deadlines.longest_pause)

    def _received(self, answer: http.client.HTTPResponse, most: int, until: float, progress: SearchProgress) -> bytes:
        data = bytearray()
        while block := read_some(answer, 1 << 20):
            data += block
            if len(data) > most:
                raise FoldcliError(f"{self.host}: sends more than the {most >> 10} KiB that an answer may have")
            if time.monotonic() > until:
                raise BrokenError("it trickled in")
            if len(data) >= 1 << 10:  # a ticket is shorter
                progress(f"{len(data) >> 10} KiB received")
        if answer.length:  # bytes of Content-Length never received
            raise BrokenError("the connection ended early")
        return bytes(data)

    def _checked(self, archive: bytes, sequence: str) -> str:
        """The alignment in an archive; FoldcliError if missing or of another sequence."""
        where = Path(urlsplit(self.host).netloc)
        texts = members(archive, str(where), ALIGNMENTS)
        for name, text in texts.items():
            found = parse_alignments(text, where / name)
            if list(found) != [sequence]:
                raise FoldcliError(f"{where / name}: is the alignment of another sequence than the one sent")
        return join_a3m(sequence, texts.values())


def _wait(seconds: float, why: str, progress: SearchProgress) -> None:
    """Sleep, calling progress often, which raises if the run has ended."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        progress(why)
        time.sleep(min(left, 0.5))
