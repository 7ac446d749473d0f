"""Relaxation of a job's best or of all its predictions."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from foldcli.errors import InputError
from foldcli.folding.output import write_relaxed
from foldcli.protein.chain_names import ONE_LETTER
from foldcli.protein.structure import Prediction
from foldcli.report.pdb import LAST_RESIDUE
from foldcli.report.provenance import Provenance
from foldcli.timers import Timers

if TYPE_CHECKING:
    from foldcli.folding.amber import Relaxation

NEEDED = ("openmm", "pdbfixer")
# The force field has no cutoff, as in AlphaFold: forces of 1,008 residues take 0.54 seconds of one core, of 2,016
# 2.2, and a minimization asks for them hundreds to thousands of times, in up to three rounds.
MOST_ON_CPU = 3000


def require_openmm(asked: str) -> None:
    """InputError if OpenMM or PDBFixer is not installed; asked: the command or option that needs them."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(f"{asked}: {missing[0]} is not installed; pip install 'foldcli[relax]'")


def require_relaxable(asked: str, lengths: Sequence[int], cuda: bool) -> None:
    """InputError if a relaxation of chains of these lengths takes hours, or if PDBFixer cannot be given them.

    asked: what asks for it.
    """
    most, where = (LAST_RESIDUE, "on a GPU") if cuda else (MOST_ON_CPU, "on the CPU, where more takes hours")
    if sum(lengths) > most or len(lengths) > len(ONE_LETTER):
        size = f"{sum(lengths)} in {len(lengths)} chains" if len(lengths) > 1 else str(sum(lengths))
        raise InputError(
            f"{asked} takes up to {most} residues {where}, in up to {len(ONE_LETTER)} chains, and here are {size}; "
            "relax a part of it (foldcli relax), or none"
        )


def relax_ranked(
    folder: Path, ranked: Sequence[tuple[Prediction, Provenance]], which: str, cuda: bool, timers: Timers
) -> Iterator[str]:
    """Relax and write none, the best or all of a job's predictions; yields a line on each.

    If one cannot be relaxed, its line says why, and its unrelaxed files stay.
    """
    count = {"none": 0, "best": 1, "all": len(ranked)}[which]
    for rank, (prediction, provenance) in enumerate(ranked[:count], start=1):
        try:
            with timers.timed(f"{prediction.model}_seed_{prediction.seed:03d}_relax"):
                from foldcli.folding.amber import relax

                found = relax(prediction.structure, cuda)
            said = describe(found)
            relaxed = replace(prediction, structure=found.structure)
            write_relaxed(folder, rank, relaxed, replace(provenance, relaxation=said), figures(found))
            yield f"rank {rank} relaxed: {said}"
        except Exception as error:  # whatever OpenMM raises, the prediction itself is good
            yield f"rank {rank} not relaxed: {type(error).__name__}: {' '.join(str(error).split())}"


def describe(found: "Relaxation") -> str:
    """A relaxation as one phrase."""
    energies, violations = (f"{before:.0f} to {after:.0f}" for before, after in (found.energy, found.violations))
    rounds = f"{found.rounds} round{'s' * (found.rounds > 1)} on {found.engine}"
    moved = f"atoms moved {found.moved:.2f} A"
    return f"energy {energies} kcal/mol, residues with violations {violations}, {moved}, {rounds}"


def figures(found: "Relaxation") -> dict[str, float | int | str]:
    """A relaxation's figures by name: energies in kcal/mol, root mean square displacement in angstrom."""
    return {
        "energy_before": found.energy[0], "energy_after": found.energy[1],
        "violating_residues_before": found.violations[0], "violating_residues_after": found.violations[1],
        "moved_rms": found.moved, "rounds": found.rounds, "engine": found.engine,
    }  # fmt: skip
