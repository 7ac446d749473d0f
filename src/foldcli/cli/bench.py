"""foldcli bench: what time and memory a model takes, one command for each kind of measurement."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from foldcli.cli.bench_options import (
    Blocks,
    Device,
    Dtype,
    ExtraDepth,
    Json,
    Model,
    ModulesByDefault,
    MsaDepth,
    OptionalSeqLen,
    RecipeSettings,
    SeqLen,
    Settings,
    console,
    require_alone,
    spinner,
)  # fmt: skip
from foldcli.cli.complete import recipes
from foldcli.errors import InputError

app = typer.Typer(
    name="bench", cls=ModulesByDefault, no_args_is_help=True,
    help="Measure time and memory. Options without a command are those of `modules`: foldcli bench --seq-len 512.",
)  # fmt: skip


@app.callback()
def silence_profiler() -> None:
    """Keep torch's profiler, which counts allocated bytes, from announcing itself."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")


@app.command("modules")
def time_modules(
    ctx: typer.Context,
    settings: Settings = None,
    seq_len: OptionalSeqLen = None,
    sweep: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Several lengths, and how time and memory grow with them.")
    ] = None,
    msa_depth: MsaDepth = 512,
    extra_depth: ExtraDepth = 1024,
    model: Model = "model_1_ptm",
    modules: Annotated[
        str, typer.Option(help="all, or names from the table separated by commas: evoformer.row,structure.")
    ] = "all",
    blocks: Blocks = None,
    backward: Annotated[bool, typer.Option("--backward", help="Time the backward pass as well.")] = False,
    limit: Annotated[
        float, typer.Option(help="On the CPU, seconds for each length; modules that would take longer are left out.")
    ] = 300,
    device: Device = "auto",
    dtype: Dtype = "auto",
    json: Json = None,
    plot: Annotated[Path | None, typer.Option(help="Draw plots into this folder.")] = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="Results that --json wrote: measure the same again and print what became slower or faster."),
    ] = None,
) -> None:
    """Time, FLOP/s and memory of each module of the model."""
    from foldcli.bench.request import Request

    if compare:
        require_alone(ctx, "--compare repeats the measurement of its file", "compare", "json", "plot")
    elif (seq_len is None) == (sweep is None):
        raise InputError("foldcli bench modules: give one of --seq-len N, --sweep N,N,... and --compare FILE")
    lengths = _lengths(sweep) if sweep else (seq_len,) if seq_len else ()
    names = () if modules == "all" else tuple(modules.split(","))
    _measure_modules(
        Request(
            lengths, msa_depth, extra_depth, model, names, blocks, backward, device, dtype, limit, tuple(settings or ())
        ),
        json, plot, compare,
    )  # fmt: skip


def _measure_modules(request: Any, json: Path | None, plot: Path | None, compare: Path | None) -> None:
    """Print times and memory, or with `compare` the changes since that file was written."""
    from foldcli.bench.modules import compare as earlier
    from foldcli.bench.modules.measure import measure
    from foldcli.bench.modules.plots import draw
    from foldcli.bench.modules.tables import line, show
    from foldcli.bench.save import save_json

    before = earlier.load(compare) if compare else None
    request = earlier.request_of(before) if before else request
    out = console()

    def done(length: int, figure: Any) -> None:
        if not (before or out.is_terminal):  # into a log at once: a time limit may end this before the table
            print(line(length, figure), flush=True)

    with spinner() as status:
        measured = measure(request, lambda what: status.update(f"measuring {what}"), done)
    if before:
        out.print(earlier.changes(before, measured))
    else:
        show(measured, out)
    if json:
        save_json(json, measured)
    for path in draw(measured, plot) if plot else ():
        out.print(str(path), soft_wrap=True)


@app.command("train")
def time_training(
    settings: RecipeSettings = None,
    config: Annotated[str, typer.Option(help="Recipe of `foldcli train`.", autocompletion=recipes)] = "mini",
    steps: Annotated[int, typer.Option(help="Training steps to time.", min=1)] = 200,
) -> None:
    """Time of a training step by phase: loading, forward, backward, optimiser."""
    from foldcli.bench.training import summary, table, time_training
    from foldcli.bench.training_launches import count_step
    from foldcli.compose import train_config
    from foldcli.devices import choose_device

    recipe = train_config(config, settings or [])
    times = time_training(recipe, steps, choose_device(recipe.device))
    out = console()
    out.print(summary(times), soft_wrap=True)
    counter = count_step(recipe)
    launches = counter.by_phase()
    out.print(table(times, launches))
    waits = ", ".join(f"{count} times for {name} in {phase}" for (phase, name), count in counter.waits.items())
    total = f"a micro-batch and its update are {sum(launches.values()):,} launches on a GPU, counted without one"
    out.print(f"{total}; in it the host waits {waits or 'for nothing'}", soft_wrap=True)


@app.command("simulate")
def simulate(
    settings: RecipeSettings = None,
    gpus: Annotated[int, typer.Option(help="GPUs in all.", min=1)] = 1,
    dap: Annotated[
        int,
        typer.Option(help="GPUs that share a sample by Dynamic Axial Parallelism; 0: as many as divide --gpus.", min=0),
    ] = 0,
    seq_len: Annotated[
        int | None,
        typer.Option(help="Residues. (default: the recipe's crop)", min=1),
    ] = None,
    msa_depth: MsaDepth = 512,
    extra_depth: ExtraDepth = 1024,
    model: Model = "model_1_ptm",
    config: Annotated[
        str, typer.Option(help="Recipe of `foldcli train` of a training step.", autocompletion=recipes)
    ] = "big",
    device: Annotated[
        str,
        typer.Option(
            help="auto (a100), a100, h100 or h200 by its data sheet, or a file of `make gpu-report`; "
            "cpu or cuda: kernels are measured on this machine."
        ),
    ] = "auto",
    dtype: Dtype = "auto",
    link: Annotated[
        str, typer.Option(help="Between hosts: ib, ib-ndr, ethernet, nvlink, pcie, or GB/s,microseconds such as 25,8.")
    ] = "ib",
    host_link: Annotated[str, typer.Option(help="Between the GPUs of a host: the same choices.")] = "nvlink",
    json: Json = None,
) -> None:
    """Predict an inference pass and a training step on many GPUs, from a roofline and a network model."""
    from foldcli.bench.cases import Sizes
    from foldcli.bench.save import save_json
    from foldcli.bench.simulate.predict import simulation, table
    from foldcli.compose import model_config, train_config

    recipe = train_config(config, settings or [])
    simulated = simulation(device, dtype, host_link, link)
    sizes = Sizes(seq_len or recipe.sample.crop, msa_depth, extra_depth)
    found = simulated.predictions(recipe, model_config(model), sizes, gpus, dap)
    out = console()
    out.print(f"{gpus} x {simulated}", soft_wrap=True)
    out.print(table(found, simulated.device))
    if json:
        save_json(json, found)


@app.command("autochunk")
def measure_autochunk(
    seq_len: SeqLen,
    settings: Settings = None,
    msa_depth: MsaDepth = 512,
    extra_depth: ExtraDepth = 1024,
    model: Model = "model_1_ptm",
    blocks: Annotated[int, typer.Option(help="Blocks of each stack.", min=1)] = 1,
    device: Device = "auto",
    dtype: Dtype = "auto",
    json: Json = None,
    plot: Annotated[Path, typer.Option(help="Folder of the plot.")] = Path(),
) -> None:
    """Peak memory against time of the Evoformer stacks under AutoChunk's plans."""
    from foldcli.bench.autochunk.curve import curve, curve_png, table, title, trunk
    from foldcli.bench.request import Request
    from foldcli.bench.save import save_json

    request = Request(
        (seq_len,), msa_depth, extra_depth, model, (), blocks, False, device, dtype, 0.0, tuple(settings or ())
    )
    with spinner() as status:
        bench = trunk(request)
        found = curve(title(request), request, bench, lambda point: status.update(f"measured {point.name}"))
    out, path = console(), plot / f"autochunk-{seq_len}.png"
    out.print(table(found))
    plot.mkdir(parents=True, exist_ok=True)
    curve_png(path, found)
    out.print(str(path), soft_wrap=True)
    if json:
        save_json(json, found)


@app.command("peers")
def compare_peers(
    ctx: typer.Context,
    settings: Settings = None,
    peers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,...",
            help="jax (DeepMind's AlphaFold), compile (torch.compile), sdpa, trifast, cuequivariance (attention).",
        ),
    ] = None,
    seq_len: OptionalSeqLen = None,
    msa_depth: MsaDepth = 512,
    extra_depth: ExtraDepth = 1024,
    model: Model = "model_1_ptm",
    blocks: Blocks = None,
    rounds: Annotated[int, typer.Option(help="Times that foldcli and the peer run, in turns.", min=1)] = 5,
    device: Device = "auto",
    dtype: Dtype = "auto",
    json: Json = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only install DeepMind's AlphaFold, in an environment of its own.")
    ] = False,
) -> None:
    """Time foldcli and other implementations in turns on the same inputs, once their results agree."""
    from foldcli.bench.peers import jax_environment
    from foldcli.bench.peers.compare import compare
    from foldcli.bench.peers.comparison import table
    from foldcli.bench.request import Request
    from foldcli.bench.save import save_json

    if prepare:
        require_alone(ctx, "--prepare only installs DeepMind's AlphaFold", "prepare")
        jax_environment.prepare()
        typer.echo(f"{jax_environment.folder()}: DeepMind's AlphaFold is installed")
        return
    if peers is None or seq_len is None:
        raise InputError("foldcli bench peers: give --peers NAME,... and --seq-len N, or --prepare")
    request = Request(
        (seq_len,), msa_depth, extra_depth, model, (), blocks, False, device, dtype, 0.0, tuple(settings or ())
    )
    with spinner() as status:
        compared = compare(request, peers.split(","), rounds, lambda peer: status.update(f"measuring {peer}"))
    console().print(table(compared))
    if json:
        save_json(json, compared)


@app.command("counts")
def count_operators(
    json: Json = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="Counts that --json wrote; exit code 1 if one has risen by more than 2 %."),
    ] = None,
) -> None:
    """FLOPs, operators and bytes of each module, the same on every machine: to notice a change that adds work."""
    from foldcli.bench import counts
    from foldcli.bench.save import save_json

    before = counts.load(compare) if compare else {}
    now = counts.counted()
    console().print(counts.table(now))
    if json:
        save_json(json, now)
    risen = list(counts.risen(before, now))
    for module, key, then, value in risen:
        print(f"{module}: {key} rose from {then} to {value}")
    raise typer.Exit(int(bool(risen)))


def _lengths(sweep: str) -> tuple[int, ...]:
    try:
        lengths = tuple(sorted({int(length) for length in sweep.split(",")}))
    except ValueError:
        lengths = ()
    if not lengths or lengths[0] < 1:
        raise InputError(f"--sweep {sweep}: expected lengths separated by commas, such as 256,512,1024")
    return lengths
