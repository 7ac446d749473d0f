"""The foldcli command: its subcommands, and how it starts and ends."""

import contextlib
import errno
import io
import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from foldcli import __version__
from foldcli.cli.bench import app as bench_app
from foldcli.cli.data import app as data_app
from foldcli.cli.doctor import doctor
from foldcli.cli.fold import fold
from foldcli.cli.relax import relax
from foldcli.cli.train import train
from foldcli.cli.weights import app as weights_app
from foldcli.errors import FoldcliError, InputError


class PathsChecked(TyperGroup):
    """The commands, with an error for a path that no file system takes, wherever it is looked at first."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
                raise
            raise InputError(f"{str(error.filename)[:60]}...: {error.strerror}; give another path") from None


app = typer.Typer(
    cls=PathsChecked,
    help="Fold proteins with AlphaFold 2, on a laptop or on many GPUs.",
    no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
app.add_typer(bench_app, name="bench")
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")


def _show_version(asked: bool) -> None:
    if asked:
        print(f"foldcli {__version__}")
        raise typer.Exit


@app.callback()
def foldcli(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Fold proteins with AlphaFold 2, on a laptop or on many GPUs."""


app.command()(fold)
app.command()(relax)
app.command()(train)
app.command()(doctor)


def main() -> None:
    """Entry point: `run`, but a fold that is done ends its process at once.

    Taking torch's modules apart, as Python does at its end, took 3 of the 25 seconds of a short fold.
    """
    try:
        run()
    except SystemExit as end:
        if sys.argv[1:2] != ["fold"] or not isinstance(end.code, int | None):
            raise
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code or 0)


def run() -> None:
    """The command: a FoldcliError ends the command with its exit code, and one line on standard error."""
    # Before torch loads OpenMP: on a busy machine, threads that spin while they wait make a fold many times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Huge pages for large tensors: with small pages, page faults take three times as long as writing the data.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may have bytes that are no UTF-8
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's signal, handled as Ctrl-C
    if "TORCHELASTIC_ERROR_FILE" in os.environ:  # one of several ranks
        from foldcli.parallel.worker import run_worker

        run_worker(app)
    try:
        app()
    except FoldcliError as error:
        print(f"foldcli: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
