"""`foldcli fold` in a process that kills itself at a file operation of choice."""

import json
import multiprocessing
import os
import signal
import sys
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

OPERATIONS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")


def processes() -> ForkServerContext:
    """Processes that are forked from one which has imported what a fold needs; each then starts in an instant."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "foldcli.cli.run_fold", "foldcli.folding.run", "foldcli.report.plots"])
    return context


def command(folder: Path, log: str, kill_at: int | None) -> ForkServerProcess:
    """A started `foldcli fold in.fasta --out out` in a folder, its events in a file there, by name `log`.

    kill_at: the number of the operation on a file in the folder before which SIGKILL ends it.
    """
    process = processes().Process(target=_fold, args=(folder, log, kill_at))
    process.start()
    return process


def _fold(folder: Path, log: str, kill_at: int | None) -> None:
    os.chdir(folder)
    os.environ["FOLDCLI_HOME"] = str(folder / "home")
    usual = "--model tiny --weights untrained --num-recycle 0 --num-seeds 3 --json --device cpu"
    sys.argv = ["foldcli", "fold", "in.fasta", "--out", str(folder / "out"), *usual.split()]
    _draw_nothing()
    with (folder / log).open("a") as sys.stdout:
        count = _count_operations(str(folder / "out"), kill_at)
        from foldcli.cli.main import run

        try:
            run()
        finally:
            (folder / "operations").write_text(str(count[0]))


def _draw_nothing() -> None:
    """Empty files for plots, which take most of a small fold's time."""
    from foldcli.folding import output

    for plot in ("plddt_png", "pae_png", "coverage_png", "ranking_png"):
        setattr(output, plot, lambda *drawn: drawn[1].write_bytes(b""))


def _count_operations(folder: str, kill_at: int | None) -> list[int]:
    """Count the operations on files in a folder from now on, in a list of one number."""
    count = [0]

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event in OPERATIONS and arguments and str(arguments[0]).startswith(folder):
            count[0] += 1
            if count[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(heard)
    return count


def passes(log: Path) -> list[tuple[str, int]]:
    """Job and seed of every pass in a log; the models here make one pass for each prediction."""
    events = map(json.loads, log.read_text().splitlines() if log.is_file() else [])
    return [(event["job"], event["seed"]) for event in events if event["event"] == "passed"]
