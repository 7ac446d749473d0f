"""The real command, run in this process, on two short records."""

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foldcli.cli.main import run

SHORT, LONG = "NLYIQWLKDG", "TTCCPSIVARSNFN"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Exit code, standard output and standard error of a run."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on standard error."""
        assert self.err.startswith("foldcli: ")
        assert self.err.count("\n") == 1, self.err
        return self.err.strip()


Command = Callable[..., Outcome]


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "two.fasta"
    path.write_text(f">a the first\n{SHORT}\n>b\n{LONG}\n")
    return path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run `foldcli fold` with tiny untrained models of one pass, unless the arguments say otherwise."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOLDCLI_HOME", str(tmp_path / "home"))

    def call(
        *arguments: str | os.PathLike[str], usual: str = "--model tiny --weights untrained --num-recycle 0"
    ) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["foldcli", "fold", *map(str, arguments), *usual.split()])
        with pytest.raises(SystemExit) as end:
            run()
        return Outcome(end.value.code or 0, *capfd.readouterr())

    return call


def results(out: Path) -> dict[str, dict[str, Any]]:
    """The records of results.jsonl by job; asserts that no temporary folder is left."""
    assert not list(out.rglob(".*.part"))
    lines = (out / "results.jsonl").read_text().splitlines()
    return {record["job"]: record for record in map(json.loads, lines)}
