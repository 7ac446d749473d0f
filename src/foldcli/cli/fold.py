"""`foldcli fold`: its options, by the panels of its help. Heavy imports wait until an input is given."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from foldcli.cli.complete import choices, fold_models
from foldcli.errors import Interrupted

results = partial(typer.Option, rich_help_panel="Results")
models = partial(typer.Option, rich_help_panel="Models and parameters")
prediction = partial(typer.Option, rich_help_panel="Prediction")
alignments = partial(typer.Option, rich_help_panel="Alignments")
structures = partial(typer.Option, rich_help_panel="Templates")
machine = partial(typer.Option, rich_help_panel="Devices and memory")


def fold(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="FASTA, A3M or CSV (id,sequence) file, or a folder.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Any setting, such as num_recycle=1; wins over the options."),
    ] = None,
    model: Annotated[
        list[str] | None,
        models(
            help="Preset; repeat for several.",
            show_default="the pTM models, else foldcli-mini",
            autocompletion=fold_models,
        ),
    ] = None,
    num_models: Annotated[int | None, models(help="How many of the pTM models.", show_default="5")] = None,
    weights: Annotated[
        str | None,
        models(help="Parameter file or folder; `untrained` for none.", show_default="the cache, else the package"),
    ] = None,
    num_seeds: Annotated[
        int | None, prediction(help="Predictions of each model, each from its own seed.", show_default="1")
    ] = None,
    random_seed: Annotated[int | None, prediction(help="The first seed.", show_default="0")] = None,
    use_dropout: Annotated[
        bool | None, prediction("--use-dropout", help="Dropout, so that seeds differ more.", show_default="no")
    ] = None,
    num_recycle: Annotated[
        int | None,
        prediction(help="Recycling passes after the first pass.", show_default="the model's own: 3, multimer 20"),
    ] = None,
    recycle_early_stop_tolerance: Annotated[
        float | None,
        prediction(help="Stop once a pass changes CA distances by less, in angstrom.", show_default="the model's own"),
    ] = None,
    cyclic: Annotated[bool | None, prediction("--cyclic", help="Bond the last residue of each to the first.")] = None,
    initial_guess: Annotated[
        Path | None, prediction(help="Structure (mmCIF, PDB) whose positions enter the first pass.")
    ] = None,
    rank_by: Annotated[
        str | None,
        prediction(
            help="auto (multimer for complexes, else plddt), plddt, ptm, iptm, multimer.",
            show_default="auto",
            autocompletion=choices("rank_by"),
        ),
    ] = None,
    relax: Annotated[
        str | None,
        prediction(help="none, best or all, with OpenMM.", show_default="none", autocompletion=choices("relax")),
    ] = None,
    msa: Annotated[
        Path | None, alignments(help="Alignment (A3M, Stockholm), or a folder of them by record name.")
    ] = None,
    msa_mode: Annotated[
        str | None,
        alignments(
            help="Search alignments: auto (--db, if any), server, local, none.",
            show_default="auto",
            autocompletion=choices("msa_mode"),
        ),
    ] = None,
    db: Annotated[
        list[Path] | None, alignments(help="Database to search: FASTA, .gz too, or MMseqs2; repeat for several.")
    ] = None,
    host_url: Annotated[str | None, alignments(help="Server of --msa-mode server.", show_default="ColabFold's")] = None,
    pair_mode: Annotated[
        str | None,
        alignments(
            help="Rows of a complex's alignments: unpaired_paired, paired or unpaired.",
            show_default="unpaired_paired",
            autocompletion=choices("pair_mode"),
        ),
    ] = None,
    pair_strategy: Annotated[
        str | None,
        alignments(
            help="Rows that the server pairs: greedy or complete (of all sequences of a complex).",
            show_default="greedy",
            autocompletion=choices("pair_strategy"),
        ),
    ] = None,
    msa_only: Annotated[
        bool, alignments("--msa-only", help="Write the alignments as A3M, to fold from that folder later, and stop.")
    ] = False,
    templates: Annotated[
        bool | None,
        structures("--templates/--no-templates", help="Show templates to models that take them.", show_default="yes"),
    ] = None,
    library: Annotated[
        Path | None, structures(help="Library of known structures to search for templates.", show_default="foldcli's")
    ] = None,
    template: Annotated[
        list[Path] | None, structures(help="Structure as a template, or a folder of them; repeat for several.")
    ] = None,
    template_hits: Annotated[Path | None, structures(help="Hits (.hhr, .m8), or a folder by record name.")] = None,
    template_dir: Annotated[Path | None, structures(help="Folder of the hits' mmCIF files.")] = None,
    max_template_date: Annotated[
        str | None, structures(metavar="YYYY-MM-DD", help="Templates released later are not used.")
    ] = None,
    device: Annotated[
        str | None, machine(help="auto, cpu or cuda.", show_default="auto", autocompletion=choices("device"))
    ] = None,
    precision: Annotated[
        str | None, machine(help="auto, fp32 or bf16.", show_default="auto", autocompletion=choices("precision"))
    ] = None,
    gpus: Annotated[int | None, machine(help="GPUs, or processes on the CPU.", show_default="1")] = None,
    dap: Annotated[
        str | None, machine(help="GPUs that fold one protein together: auto or N.", show_default="auto")
    ] = None,
    memory_budget: Annotated[
        str | None, machine(help="Memory of a pass, such as 12GiB, besides parameters.", show_default="what is free")
    ] = None,
    offload: Annotated[
        str | None,
        machine(
            help="Host memory, such as 128GiB, for what a GPU does not work on just then; longer proteins fit.",
            show_default="none",
        ),
    ] = None,
    autochunk: Annotated[
        bool | None,
        machine("--autochunk/--no-autochunk", help="Compute in chunks what does not fit whole.", show_default="yes"),
    ] = None,
    out: Annotated[Path, results(help="Folder of the results.")] = Path("results"),
    skip_bad: Annotated[
        bool, results("--skip-bad", help="Leave out records that cannot be folded, and fold the others.")
    ] = False,
    overwrite: Annotated[bool | None, results(help="Fold again what is done, and replace it.")] = None,
    sort: Annotated[
        str | None,
        results(
            help="Order of the jobs by length: length (shortest first), longest or none.",
            show_default="length",
            autocompletion=choices("sort"),
        ),
    ] = None,
    first_residue: Annotated[int | None, results(help="Number of the first residue.", show_default="1")] = None,
    pae: Annotated[
        str | None,
        results(
            help="Predicted aligned errors as json, npz or none.", show_default="json", autocompletion=choices("pae")
        ),
    ] = None,
    save_recycles: Annotated[bool | None, results("--save-recycles", help="Save the structure of each pass.")] = None,
    save_single_representations: Annotated[bool | None, results(help="Save as .npy: residues x c_s.")] = None,
    save_pair_representations: Annotated[bool | None, results(help="Save as .npy: residues x residues x c_z.")] = None,
    zip: Annotated[bool | None, results("--zip", help="Write each job's folder as NAME.zip as well.")] = None,
    dry_run: Annotated[bool, results("--dry-run", help="Print what the jobs would take, and fold none.")] = False,
    as_json: Annotated[bool, results("--json", help="Print events and results as JSON lines, and no table.")] = False,
) -> None:
    """Predict the structure of every record of INPUT."""
    from foldcli.cli.run_fold import run_fold

    settings: dict[str, Any] = {
        "num_models": num_models, "num_seeds": num_seeds, "random_seed": random_seed, "num_recycle": num_recycle,
        "use_dropout": use_dropout,
        "recycle_early_stop_tolerance": recycle_early_stop_tolerance, "rank_by": rank_by, "relax": relax, "sort": sort,
        "msa_mode": msa_mode, "db": db, "host_url": host_url, "pair_mode": pair_mode,
        "pair_strategy": pair_strategy,
        "templates": templates, "library": library,
        "template": template, "template_hits": template_hits, "template_dir": template_dir,
        "max_template_date": max_template_date, "device": device, "precision": precision, "gpus": gpus,
        "dap": _ranks(dap), "memory_budget": memory_budget, "offload": offload, "autochunk": autochunk,
        "overwrite": overwrite, "zip": zip,
        "cyclic": cyclic, "initial_guess": initial_guess, "first_residue": first_residue,
        "pae": pae, "save_recycles": save_recycles,
        "save_single_representations": save_single_representations,
        "save_pair_representations": save_pair_representations,
    }  # fmt: skip
    given = {key: value for key, value in settings.items() if value is not None and value != []}
    try:
        code = run_fold(
            source, out, model or [], msa, weights, given, overrides or [],
            skip_bad=skip_bad, dry_run=dry_run, msa_only=msa_only, as_json=as_json,
        )  # fmt: skip
    except KeyboardInterrupt:
        raise Interrupted("interrupted before the first job") from None
    raise typer.Exit(code)


def _ranks(dap: str | None) -> int | str | None:
    """--dap as the setting `dap` has it, 0 for auto; other text is passed on, to be refused with the other settings."""
    try:
        return 0 if dap == "auto" else dap and int(dap)
    except ValueError:
        return dap
