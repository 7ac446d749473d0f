"""`foldcli fold --json`: events and results for programs."""

import json
from pathlib import Path

from tests.cli.conftest import Command, results


def test_every_event_is_a_line(command: Command, fasta: Path) -> None:
    usual = "--model tiny --weights untrained --num-recycle 1"
    outcome = command(fasta, "--out", "out", "--json", usual=usual)
    assert (outcome.code, outcome.err) == (0, "")
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert (events[0]["event"], events[0]["jobs"], events[-1]["event"]) == ("run_started", 2, "run_ended")
    for job in "ab":  # b may begin before the files of a are whole
        of_job = [event for event in events if event.get("job") == job]
        assert [event["event"] for event in of_job] == ["job_started", "passed", "passed", "job_ended"]
    assert [event["job"] for event in events if event["event"] == "job_ended"] == ["a", "b"]
    begun, first, second, ended = [event for event in events if event.get("job") == "a"]
    assert (begun["passes"], first["number"]) == (2, 0)
    assert second.items() >= {"job": "a", "model": "tiny", "seed": 0, "number": 1}.items()
    assert second["moved"] > 0 and second["seconds"] > 0
    assert events[-1]["records"] == list(results(Path("out")).values())
    assert ended == {"event": "job_ended", "skipped": False, **events[-1]["records"][0]}

    again = command(fasta, "--out", "out", "--json", usual=usual)
    events = [json.loads(line) for line in again.out.splitlines()]
    assert [(event["event"], event.get("skipped")) for event in events[1:-1]] == [("job_ended", True)] * 2
