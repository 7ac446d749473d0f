"""`foldcli doctor`: print what works on this machine, and what to do about the rest."""

import sys
from typing import Annotated

import typer


def doctor(
    verify: Annotated[bool, typer.Option("--verify", help="Compare the SHA-256 of all parameter files.")] = False,
) -> None:
    """Check whether folding works on this machine, and what is missing; exit code 1 if it cannot work."""
    from rich.console import Console
    from rich.table import Table

    from foldcli.doctor.examine import examine

    grid = Table("what", "state")
    grid.add_column("found", overflow="fold")
    grid.add_column("advice", overflow="fold")
    broken = []
    with Console(stderr=True).status("looking") as status:
        for finding in examine(verify):
            status.update(f"looked at {finding.what}")
            grid.add_row(finding.what, finding.state, finding.found, finding.advice)
            broken += [finding.what] if finding.broken else []
    width = None if sys.stdout.isatty() else 1000  # no line breaks in a log
    console = Console(markup=False, highlight=False, width=width)
    console.print(grid)
    console.print(f"folding cannot work: {', '.join(dict.fromkeys(broken))}" if broken else "folding works")
    raise typer.Exit(int(bool(broken)))
