"""`foldcli relax`: relax structures that exist, with OpenMM."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from foldcli.errors import FoldcliError, Interrupted


def relax(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Structures, PDB or mmCIF.")],
) -> None:
    """Relax protein structures in AMBER's force field, and write NAME_relaxed beside each file."""
    from foldcli.folding.relax import require_openmm

    require_openmm("foldcli relax")
    import torch

    from foldcli.folding.relax_file import relax_file

    failed = 0
    for number, file in enumerate(files):
        try:
            print(relax_file(file, torch.cuda.is_available()), flush=True)
        except FoldcliError as error:
            print(f"foldcli: {error}", file=sys.stderr)
            failed += 1
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted: {number} of {len(files)} files are through") from None
    raise typer.Exit(int(failed > 0))
