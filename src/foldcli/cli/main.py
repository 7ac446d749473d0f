"""The foldcli command: parse, compose the configuration, call one function."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from foldcli import __version__
from foldcli.cli.bench import bench
from foldcli.cli.complete import choices, presets, recipes
from foldcli.cli.data import app as data_app
from foldcli.cli.doctor import doctor
from foldcli.cli.weights import app as weights_app
from foldcli.errors import FoldcliError, Interrupted

app = typer.Typer(
    help="Fold proteins with AlphaFold 2, on a laptop or on many GPUs.",
    no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
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


@app.command()
def fold(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="FASTA file, A3M file, or a folder of them.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Any setting.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results"),
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Preset; repeat for several. [default: the pTM models, else foldcli-mini]", autocompletion=presets
        ),
    ] = None,
    num_models: Annotated[int | None, typer.Option(help="How many of the pTM models. [default: 5]")] = None,
    num_seeds: Annotated[int | None, typer.Option(help="Runs of each model, each from a seed. [default: 1]")] = None,
    random_seed: Annotated[int | None, typer.Option(help="The first seed. [default: 0]")] = None,
    num_recycle: Annotated[int | None, typer.Option(help="Passes after the first. [default: 3]")] = None,
    recycle_early_stop_tolerance: Annotated[
        float | None, typer.Option(help="Stop once a pass moves CA distances by less, in angstrom. [default: 0]")
    ] = None,
    msa: Annotated[Path | None, typer.Option(help="Alignment (A3M, Stockholm), or a folder of them by name.")] = None,
    msa_mode: Annotated[
        str | None,
        typer.Option(
            help="Search alignments: auto (--db, if any), server, local, none. [default: auto]",
            autocompletion=choices("msa_mode"),
        ),
    ] = None,
    db: Annotated[
        list[Path] | None, typer.Option(help="Database to search: FASTA, .gz too, or MMseqs2; repeat for several.")
    ] = None,
    host_url: Annotated[str | None, typer.Option(help="Server of --msa-mode server. [default: ColabFold's]")] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Parameter file or folder; `untrained` for none. [default: the cache, else the package]"),
    ] = None,
    templates: Annotated[
        bool, typer.Option("--templates/--no-templates", help="Known folds, for models that take them.")
    ] = True,
    library: Annotated[Path | None, typer.Option(help="Another library of known folds. [default: foldcli's]")] = None,
    template: Annotated[
        list[Path] | None, typer.Option(help="Structure as a template, or a folder of them; repeat for several.")
    ] = None,
    template_hits: Annotated[Path | None, typer.Option(help="Hits (.hhr, .m8), or a folder by name.")] = None,
    template_dir: Annotated[Path | None, typer.Option(help="Folder of the hits' mmCIF files.")] = None,
    max_template_date: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Templates released later are not used.")
    ] = None,
    rank_by: Annotated[
        str | None, typer.Option(help="plddt or ptm. [default: plddt]", autocompletion=choices("rank_by"))
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(help="Order: length, longest or none. [default: length]", autocompletion=choices("sort")),
    ] = None,
    relax: Annotated[
        str | None,
        typer.Option(help="none, best or all, with OpenMM. [default: none]", autocompletion=choices("relax")),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda. [default: auto]", autocompletion=choices("device"))
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto, fp32 or bf16. [default: auto]", autocompletion=choices("precision"))
    ] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs, or processes on the CPU. [default: 1]")] = None,
    dap: Annotated[str | None, typer.Option(help="How many fold one protein: auto or N. [default: auto]")] = None,
    memory_budget: Annotated[
        str | None, typer.Option(help="What a pass may take, as 12GiB, beside parameters. [default: what is free]")
    ] = None,
    autochunk: Annotated[
        bool, typer.Option("--autochunk/--no-autochunk", help="Compute in slices what does not fit whole.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what jobs would take, and fold none.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Events and results as JSON lines, and no table.")] = False,
    save_single_representations: Annotated[bool, typer.Option(help="Save them as .npy.")] = False,
    save_pair_representations: Annotated[bool, typer.Option(help="Save them as .npy.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Fold again what is done, and replace it.")] = False,
) -> None:
    """Predict the structure of every record of INPUT."""
    from foldcli.cli.fold import run_fold

    flags: dict[str, Any] = {
        "num_models": num_models, "num_seeds": num_seeds, "random_seed": random_seed, "num_recycle": num_recycle,
        "recycle_early_stop_tolerance": recycle_early_stop_tolerance, "rank_by": rank_by, "sort": sort,
        "msa_mode": msa_mode, "db": db and json.dumps([str(path) for path in db]),
        "host_url": host_url and json.dumps(host_url),
        "templates": None if templates else False, "library": library and json.dumps(str(library)),
        "template": template and json.dumps([str(path) for path in template]),
        "template_hits": template_hits and json.dumps(str(template_hits)),
        "template_dir": template_dir and json.dumps(str(template_dir)), "max_template_date": max_template_date,
        "relax": relax, "device": device, "precision": precision, "gpus": gpus,
        "memory_budget": memory_budget and json.dumps(memory_budget), "autochunk": None if autochunk else False,
        "dap": 0 if dap == "auto" else dap,
        "save_single_representations": save_single_representations or None,
        "save_pair_representations": save_pair_representations or None, "overwrite": overwrite or None,
    }  # fmt: skip
    settings = [f"{key}={value}" for key, value in flags.items() if value is not None]
    try:
        code = run_fold(source, out, model or [], msa, weights, [*settings, *(overrides or [])], dry_run, as_json)
    except KeyboardInterrupt:
        raise Interrupted("interrupted before the first job") from None
    raise typer.Exit(code)


@app.command()
def train(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Any setting.")] = None,
    config: Annotated[str, typer.Option(help="Recipe: tiny, mini, big or finetune.", autocompletion=recipes)] = "tiny",
    out: Annotated[Path | None, typer.Option(help="Folder of the run. [default: runs/RECIPE]")] = None,
    resume: Annotated[str, typer.Option(help="auto goes on from the folder's last state; none begins anew.")] = "auto",
    gpus: Annotated[int | None, typer.Option(help="GPUs of this machine to train on. [default: 1]")] = None,
) -> None:
    """Train a model on known structures."""
    from foldcli.cli.train import run_train

    flags = [f"gpus={gpus}"] if gpus is not None else []
    run_train(config, out or Path("runs") / config, resume, [*flags, *(overrides or [])])


app.command()(bench)
app.command()(doctor)


def run() -> None:
    """Entry point: errors that a user can cause end as one line on standard error and their exit code."""
    # Before torch loads OpenMP: beside other work, threads that wait by spinning make a fold many times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Large tensors in large pages: to get fresh small ones takes three times as long as to write a gigabyte.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's end is a Ctrl-C: the tables are kept true
    if "TORCHELASTIC_ERROR_FILE" in os.environ:  # one of several ranks
        from foldcli.parallel.worker import run_worker

        run_worker(app)
    try:
        app()
    except FoldcliError as error:
        print(f"foldcli: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
