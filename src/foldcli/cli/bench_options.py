"""What the commands of `foldcli bench` share: their options, and how they print."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from foldcli.cli.complete import presets
from foldcli.errors import InputError
from foldcli.files import require_writable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

Settings = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings of the model, such as model.c_z=64.")
]
RecipeSettings = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings of the recipe, such as batch_size=64.")
]
SeqLen = Annotated[int, typer.Option(help="Residues of the protein.", min=1)]
OptionalSeqLen = Annotated[int | None, typer.Option(help="Residues of the protein.", min=1)]
MsaDepth = Annotated[int, typer.Option(help="Sequences in the alignment (MSA).", min=1)]
ExtraDepth = Annotated[int, typer.Option(help="Sequences in the extra MSA.", min=1)]
Model = Annotated[str, typer.Option(help="Preset of the model.", autocompletion=presets)]
Blocks = Annotated[int | None, typer.Option(help="Evoformer blocks of the whole model. (default: the preset's)", min=1)]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
Json = Annotated[Path | None, typer.Option(callback=require_writable, help="Also write the results to this JSON file.")]

LOG_WIDTH = 160  # columns of a table that is not on a terminal, so that no line is broken


class ModulesByDefault(TyperGroup):
    """Options without a command are those of `modules`: `foldcli bench --seq-len 2048`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if (first.startswith("-") and first not in ctx.help_option_names) or "=" in first:
            args = ["modules", *args]
        return super().parse_args(ctx, args)


def require_alone(ctx: typer.Context, reason: str, *allowed: str) -> None:
    """InputError if options were given that have no effect beside the allowed ones."""
    given = [
        param.opts[0] if param.param_type_name == "option" else "KEY=VALUE"
        for param in ctx.command.params
        if param.name not in allowed
        and (source := ctx.get_parameter_source(param.name or ""))
        and "COMMAND" in source.name
    ]
    if given:
        raise InputError(f"{reason}; leave out {', '.join(given)}")


def spinner() -> "Status":
    """On a terminal, a spinner on standard error that names what is being measured."""
    from rich.console import Console

    return Console(stderr=True).status("measuring")


def console() -> "Console":
    from rich.console import Console

    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
