"""The MSA server's client against a local server that limits rates, hangs, fails and sends wrong answers."""

import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from foldcli.data.formats.alignment import parse_alignments
from foldcli.data.formats.complex_a3m import paired_rows
from foldcli.errors import FoldcliError, InputError
from foldcli.search import server_archive
from foldcli.search.alignments import Finder
from foldcli.search.progress import Stopped
from foldcli.search.server import Deadlines, Server, Unavailable
from tests.search.msa_server import COMPLETE, ENVIRONMENT, HANG, UNIREF, Plan, serving, tar_gz

QUERY = "MQIFVKTLTGK"
ALIGNED = {
    UNIREF: f">101\n{QUERY}\n>UniRef100_A\t99\nMQI-VKTaLTGK\n\0",
    ENVIRONMENT: f">101\n{QUERY}\n>SRR1\n--IFVKTLT--\n\0",
    "pdb70.m8": "101\t1UBQ_A\n",
}
QUICK = Deadlines(
    silence=0.2, outage=0.5, ratelimit=0.2, pending=0.2, running=0.2, unknown=0.1, download=0.5, pause=0.01,
    longest_pause=0.02,
)  # fmt: skip


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOLDCLI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def plan() -> Iterator[Plan]:
    with serving(Plan(archive=tar_gz(ALIGNED))) as plan:
        yield plan


def quiet(detail: str, share: float | None = None) -> None:
    """Ignore the progress of a search."""


def failure(plan: Plan, deadlines: Deadlines = QUICK) -> str:
    """The one-line error of a search that fails within seconds."""
    start = time.monotonic()
    with pytest.raises(FoldcliError) as caught:
        Server(plan.url, deadlines).search(QUERY, quiet)
    assert time.monotonic() - start < 5
    assert "\n" not in str(caught.value) and plan.url.removeprefix("http://") in str(caught.value)
    return str(caught.value)


def test_a_ticket_leads_to_one_alignment_of_both_databases(plan: Plan) -> None:
    plan.submissions, plan.states = [503, "RATELIMIT", "PENDING"], ["PENDING", 502, "RUNNING", "UNKNOWN", COMPLETE]
    text = Server(plan.url + "/", QUICK).search(QUERY, quiet)
    assert text == f">query\n{QUERY}\n>UniRef100_A\t99\nMQI-VKTaLTGK\n>SRR1\n--IFVKTLT--\n"
    ((sequence, rows),) = parse_alignments(text, Path("found.a3m")).items()
    assert (sequence, rows.letters.shape) == (QUERY, (3, len(QUERY)))
    assert plan.forms[-1] == {"q": [f">101\n{QUERY}\n"], "mode": ["env"]}
    assert all(agent.startswith("foldcli/") for agent in plan.agents)
    assert plan.paths[-1] == "/result/download/ticket-3"


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        (["ERROR"], "the search ended in ERROR"),
        (["RUNNING"], "it was RUNNING for more than 0.2 s"),
        (["UNKNOWN"], "it was UNKNOWN for more than 0.1 s"),
    ],
)
def test_a_lost_ticket_is_followed_by_another(plan: Plan, states: list[str | int | bytes], reason: str) -> None:
    plan.states = [*states * 50]
    message = failure(plan)
    assert f"3 tickets came to nothing, the last because {reason}" in message
    assert plan.numbers == [">101", ">102", ">103"]
    plan.states = [*states, COMPLETE] if states == ["ERROR"] else [COMPLETE]
    assert Server(plan.url, QUICK).search(QUERY, quiet).count(">") == 3


ENDINGS: dict[str, tuple[list[str | int | bytes], list[str | int | bytes]]] = {
    "it was PENDING for more than 0.2 s": (["PENDING"], ["PENDING"]),
    "it was RATELIMIT for more than 0.2 s; try again later": (["RATELIMIT"], []),
    "is under maintenance; try again later": (["MAINTENANCE"], []),
    "tickets came to nothing, the last because it answered ERROR": (["ERROR"], []),
    "no answer in 0.5 s (the server answered 500": ([500], []),
    "no answer in 0.5 s (timed out": ([HANG], []),
    "/ticket/ticket-1: no answer in 0.5 s": (["PENDING"], [HANG]),
    "/ticket/msa: the server answered 404": ([404], []),
    "answered b'<html>', expected a ticket": ([b"<html>"], []),
    "answered b'[]', expected a ticket": ([b"[]"], []),
    'answered b\'{"status": "DONE"}\', expected a ticket': ([b'{"status": "DONE"}'], []),
    "sends more than the 64 KiB": ([b" " * 70_000], []),
}


@pytest.mark.parametrize("message", ENDINGS)
def test_every_state_has_an_end(plan: Plan, message: str) -> None:
    plan.submissions, plan.states = ENDINGS[message]
    assert message in failure(plan)


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, "/etc/passwd"
    return info


ARCHIVES = {
    "its archive is damaged": b"not an archive",
    "its archive is damaged (Compressed": tar_gz(ALIGNED)[:-20],
    "its archive has no uniref.a3m": tar_gz({}),
    "has a member '../uniref.a3m' that leads elsewhere": tar_gz({"../uniref.a3m": ALIGNED[UNIREF]}),
    "has a member '/etc/cron' that leads elsewhere": tar_gz(ALIGNED, member("/etc/cron")),
    "has a member 'link' that leads elsewhere": tar_gz(ALIGNED, member("link", tarfile.SYMTYPE)),
    "unpacks to more than 1 MiB": tar_gz(ALIGNED, member("pdb70.m8", size=1 << 21)),
    "uniref.a3m: is the alignment of another sequence": tar_gz({UNIREF: ">101\nMQIFVKTLTGR\n"}),
    "uniref.a3m: row 2 (hit) has 3 columns, the query has 11": tar_gz({UNIREF: f">101\n{QUERY}\n>hit\nMQI\n"}),
    "uniref.a3m: is the alignment of another sequence than": tar_gz({UNIREF: ""}),
}


@pytest.mark.parametrize("message", ARCHIVES)
def test_an_archive_that_is_none_is_named(plan: Plan, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_archive, "LARGEST", 1 << 20)
    plan.archive = ARCHIVES[message]
    assert message in failure(plan)


def test_a_download_has_a_size_and_an_end(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.announced = 10**10
    assert "no answer in 0.5 s (" in failure(plan)  # each try ends early
    plan.slow = 0.1
    assert "no answer in 0.5 s (it trickled in)" in failure(plan)
    monkeypatch.setattr("foldcli.search.server.LARGEST_ARCHIVE", 100)
    plan.slow = 0.0
    assert "sends more than the 0 KiB that an answer may have" in failure(plan)


def test_headers_that_trickle_in_have_an_end(plan: Plan) -> None:
    plan.headers, plan.slow = 60, 0.1
    assert "no answer in 0.5 s (no whole answer in 0.4 s)" in failure(plan)


def test_a_search_that_nobody_waits_for_ends(plan: Plan) -> None:
    plan.states = ["RUNNING"]

    def stop(detail: str, share: float | None = None) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        Server(plan.url, Deadlines()).search(QUERY, stop)


def test_what_was_found_is_not_asked_for_again(plan: Plan, tmp_path: Path) -> None:
    first = Finder(Server(plan.url, QUICK)).find(QUERY, quiet)
    assert Finder(Server(plan.url, QUICK)).find(QUERY, quiet) == first
    assert len(plan.forms) == 1
    (cached,) = (tmp_path / "home" / "alignments").glob("*.a3m")
    cached.write_text(">query\nMQI\n")
    assert Finder(Server(plan.url, QUICK)).find(QUERY, quiet) == first
    assert len(plan.forms) == 2
    plan.archive = b""
    with pytest.raises(FoldcliError, match="damaged"):
        Finder(Server(plan.url, QUICK)).find(QUERY[:-1], quiet)
    assert len(list(cached.parent.glob("*.a3m"))) == 1


def test_a_server_that_takes_no_work_is_asked_once_in_a_run(plan: Plan) -> None:
    plan.submissions = ["MAINTENANCE"]
    finder = Finder(Server(plan.url, QUICK))
    for sequence in (QUERY, QUERY[:-1]):
        with pytest.raises(Unavailable, match="maintenance"):
            finder.find(sequence, quiet)
    assert len(plan.forms) == 1


def test_nobody_at_the_address_is_said_at_once() -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9: cannot be reached \(.*refused\)"):
        Server("http://127.0.0.1:9").search(QUERY, quiet)
    with pytest.raises(InputError, match="--host-url file:///etc: not an http or https address"):
        Server("file:///etc")


def test_pairs_of_a_complex_are_asked_for_and_kept(plan: Plan) -> None:
    sequences, pairs = (QUERY, "LTE"), f">101\n{QUERY}\n>u1\t9\nMQI-VKTaLTGK\n\0>102\nLTE\n>u2\nL-E\n\0"
    plan.archive = tar_gz({"pair.a3m": pairs})
    finder = Finder(Server(plan.url, QUICK))
    text = finder.find_pairs(sequences, "complete", quiet)
    assert [len(rows.letters) for rows in paired_rows(text, Path("found.a3m"), sequences)] == [2, 2]
    assert (plan.paths[0], plan.forms) == (
        "/ticket/pair", [{"q": [f">101\n{QUERY}\n>102\nLTE\n"], "mode": ["paircomplete"]}],
    )  # fmt: skip
    assert finder.find_pairs(sequences, "complete", quiet) == text
    assert len(plan.forms) == 1
    for wrong in (pairs.replace("LTE", "LTQ"), pairs.replace(">u2\nL-E\n", "")):
        plan.archive = tar_gz({"pair.a3m": wrong})
        with pytest.raises(
            FoldcliError, match=r"pair\.a3m: (is the alignment of other|has 2, 1 rows).*search with --db"
        ):
            finder.find_pairs(sequences, "greedy", quiet)
