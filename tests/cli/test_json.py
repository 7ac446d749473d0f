"""`foldcli fold --json`: events and results for programs."""

import json
from pathlib import Path

from tests.cli.conftest import Command, results


def test_every_event_is_a_line(command: Command, fasta: Path) -> None:
    usual = "--model tiny --weights untrained --num-recycle 1"
    outcome = command(fasta, "--out", "out", "--json", usual=usual)
    assert (outcome.code, outcome.err) == (0, "")
    events = [json.loads(line) for line in outcome.out.splitlines()]
    job = ["job_started", "passed", "passed", "job_ended"]
    assert [event["event"] for event in events] == ["run_started", *job, *job, "run_ended"]
    assert events[0]["jobs"] == 2
    assert events[1].items() >= {"job": "a", "passes": 2}.items()
    assert events[3].items() >= {"job": "a", "model": "tiny", "seed": 0, "number": 1}.items()
    assert events[3]["moved"] > 0
    assert events[3]["seconds"] > 0
    assert events[-1]["records"] == list(results(Path("out")).values())
    assert events[4] == {"event": "job_ended", "skipped": False, **events[-1]["records"][0]}

    again = command(fasta, "--out", "out", "--json", usual=usual)
    events = [json.loads(line) for line in again.out.splitlines()]
    assert [(event["event"], event.get("skipped")) for event in events[1:-1]] == [("job_ended", True)] * 2
