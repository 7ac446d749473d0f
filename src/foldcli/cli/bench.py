"""`foldcli bench`: one command, several things to measure; each mode is one call."""

import os
import sys
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foldcli.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from foldcli.bench.request import Request

LOG_WIDTH = 160  # in a log no line of a table is broken


def bench(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Any setting.")] = None,
    seq_len: Annotated[int | None, typer.Option(help="Residues: time each module of the model.", min=1)] = None,
    sweep: Annotated[str | None, typer.Option(metavar="N,N,...", help="Several lengths, and how time grows.")] = None,
    msa_depth: Annotated[int, typer.Option(help="Rows of the alignment.", min=1)] = 512,
    extra_depth: Annotated[int, typer.Option(help="Rows of the extra one.", min=1)] = 1024,
    model: Annotated[str, typer.Option(help="Preset.")] = "model_1_ptm",
    modules: Annotated[str, typer.Option(help="all, or some of the table's names, parted by commas.")] = "all",
    blocks: Annotated[int | None, typer.Option(help="Evoformer blocks of the whole model.", min=1)] = None,
    backward: Annotated[bool, typer.Option("--backward", help="Time the backward pass as well.")] = False,
    limit: Annotated[float, typer.Option(help="Seconds for a length on the CPU; what takes longer is left out.")] = 300,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    gpus: Annotated[int, typer.Option(help="GPUs, or processes on the CPU.", min=1)] = 1,
    json: Annotated[Path | None, typer.Option(help="Keep the figures in this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Folder for plots.")] = None,
    compare: Annotated[
        Path | None, typer.Option(help="What --json kept: measure that again and print what has moved.")
    ] = None,
    counts: Annotated[
        bool, typer.Option("--counts", help="Count operators and bytes of the CPU path; --compare holds them.")
    ] = False,
    autochunk: Annotated[
        bool, typer.Option("--autochunk", help="Memory against time of the trunk by plans, at --seq-len.")
    ] = False,
    peers: Annotated[
        str | None, typer.Option(help="Take turns with jax, sdpa, compile, trifast or cuequivariance, by commas.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Turns with each peer.", min=1)] = 5,
    prepare_peers: Annotated[
        bool, typer.Option("--prepare-peers", help="Install DeepMind's AlphaFold in an environment of its own.")
    ] = False,
    train: Annotated[bool, typer.Option("--train", help="Time the steps of a recipe of `foldcli train`.")] = False,
    config: Annotated[str | None, typer.Option(help="The recipe. [default: mini, or big to simulate]")] = None,
    steps: Annotated[int, typer.Option(help="Steps to time.", min=1)] = 200,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Predict for --gpus at --seq-len; --device may be a100, h100 or h200.")
    ] = False,
    link: Annotated[
        str, typer.Option(help="Between hosts: ib, ib-ndr, ethernet, nvlink, pcie, or GB/s,microseconds.")
    ] = "ib",
    inside: Annotated[str, typer.Option(help="The same, between the GPUs of a host.")] = "nvlink",
    dap: Annotated[int, typer.Option(help="GPUs that share a sample; 0 for what suits.", min=0)] = 0,
) -> None:
    """Measure where time and memory go."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler, which tells memory, would announce itself
    given = overrides or []
    lengths = _lengths(sweep) if sweep else (seq_len,) if seq_len else ()
    if train:
        _time_training(config or "mini", steps, given)
    elif simulate:
        sizes = (seq_len, msa_depth, extra_depth)
        _simulate(config or "big", model, given, sizes, gpus, dap, (device, dtype), (inside, link), json)
    elif counts:
        _count(json, compare)
    elif prepare_peers:
        from foldcli.bench.peers import jax_environment as environment

        environment.prepare()
        typer.echo(f"{environment.folder()}: DeepMind's AlphaFold is there")
    elif lengths or compare:
        from foldcli.bench.request import Request

        asked = () if modules == "all" else tuple(modules.split(","))
        request = Request(
            lengths, msa_depth, extra_depth, model, asked, blocks, backward, device, dtype, limit, tuple(given)
        )  # fmt: skip
        if autochunk:
            _trace_plans(request, json, plot or Path())
        elif peers:
            _compare_peers(request, peers.split(","), rounds, json)
        else:
            _measure_modules(request, json, plot, compare)
    else:
        raise InputError(
            "foldcli bench: say what to measure: --seq-len N (--autochunk: by plans), --sweep N,N, --compare FILE, "
            "--counts or --train; or --simulate"
        )


def _lengths(sweep: str) -> tuple[int, ...]:
    try:
        lengths = tuple(sorted({int(length) for length in sweep.split(",")}))
    except ValueError:
        lengths = ()
    if not lengths or lengths[0] < 1:
        raise InputError(f"--sweep {sweep}: expected lengths parted by commas, such as 256,512,1024")
    return lengths


def _measure_modules(request: "Request", json: Path | None, plot: Path | None, compare: Path | None) -> None:
    """Print the figures of modules, or what has moved since a file of them was written."""
    from rich.console import Console

    from foldcli.bench.modules import compare as history
    from foldcli.bench.modules.measure import measure
    from foldcli.bench.modules.tables import show
    from foldcli.bench.save import save_json

    before = history.load(compare) if compare else None
    request = history.request_of(before) if before else request
    with Console(stderr=True).status("measuring") as status:
        measured = measure(request, lambda what: status.update(f"measuring {what}"))
    console = _console()
    if before:
        console.print(history.moved(before, measured))
    else:
        show(measured, console)
    if json:
        save_json(json, measured)
    if plot:
        from foldcli.bench.modules.plots import draw

        for path in draw(measured, plot):
            console.print(str(path), soft_wrap=True)


def _trace_plans(request: "Request", json: Path | None, plot: Path) -> None:
    """Print and draw how much memory plans save, and what that costs."""
    from rich.console import Console

    from foldcli.bench.autochunk.curve import curve, curve_png, table, title, trunk
    from foldcli.bench.save import save_json

    if len(request.lengths) != 1:
        raise InputError("--autochunk: give one length, as --seq-len N")
    with Console(stderr=True).status("measuring") as status:
        ways = trunk(request)
        found = curve(title(request), request, ways, lambda point: status.update(f"measured {point.name}"))
    console, path = _console(), plot / f"autochunk-{request.lengths[0]}.png"
    console.print(table(found))
    plot.mkdir(parents=True, exist_ok=True)
    curve_png(path, found)
    console.print(str(path), soft_wrap=True)
    if json:
        save_json(json, found)


def _compare_peers(request: "Request", peers: list[str], rounds: int, json: Path | None) -> None:
    """Print our times beside those of others in the same run."""
    from rich.console import Console

    from foldcli.bench.peers.compare import compare
    from foldcli.bench.peers.comparison import table
    from foldcli.bench.save import save_json

    with Console(stderr=True).status("measuring") as status:
        compared = compare(request, peers, rounds, lambda peer: status.update(f"measuring {peer}"))
    _console().print(table(compared))
    if json:
        save_json(json, compared)


def _console() -> "Console":
    from rich.console import Console

    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)


def _count(json: Path | None, compare: Path | None) -> None:
    """Print the counts of every module; exit with 1 if one is above what was kept."""
    from foldcli.bench import counts
    from foldcli.files import write_atomic

    before = counts.load(compare) if compare else {}
    now = counts.counted()
    _console().print(counts.table(now))
    if json:
        write_atomic(json, dumps(now, indent=1) + "\n")
    risen = list(counts.risen(before, now))
    for module, key, then, value in risen:
        print(f"{module}: {key} rose from {then} to {value}")
    raise typer.Exit(int(bool(risen)))


def _time_training(recipe: str, steps: int, overrides: list[str]) -> None:
    """Print where the time of a recipe's steps goes on this machine."""
    from foldcli.bench.training import summary, table, time_training
    from foldcli.compose import train_config
    from foldcli.devices import choose_device

    settings = train_config(recipe, overrides)
    device = choose_device(settings.device)
    times = time_training(settings, steps, device)
    console = _console()
    console.print(summary(times), soft_wrap=True)
    console.print(table(times))


def _simulate(
    recipe: str, model: str, overrides: list[str], sizes: tuple[int | None, int, int], gpus: int, dap: int,
    on: tuple[str, str], links: tuple[str, str], json: Path | None,
) -> None:  # fmt: skip
    """Print what a pass of a model and a step of a recipe would take on many GPUs."""
    from dataclasses import asdict

    from foldcli.bench.cases import Sizes
    from foldcli.bench.simulate.predict import simulation, table
    from foldcli.compose import model_config, train_config
    from foldcli.files import write_atomic

    training, here = train_config(recipe, overrides), simulation(*on, *links)
    residues, *rows = sizes
    asked = Sizes(residues or training.sample.crop, *rows)
    found = here.predictions(training, model_config(model), asked, gpus, dap)
    console = _console()
    console.print(f"{gpus} x {here}", soft_wrap=True)
    console.print(table(found, here.device))
    if json:
        write_atomic(json, dumps([asdict(one) for one in found], indent=1) + "\n")
