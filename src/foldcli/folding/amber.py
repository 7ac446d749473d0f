"""Restrained minimization in AMBER ff14SB, as AlphaFold relaxes its models (Jumper et al. 2021, Suppl. Sec. 1.8.6).

OpenMM computes and PDBFixer builds what is missing: atoms of side chains, the last oxygen, hydrogens. Positions in
arrays are in angstrom, energies in kcal/mol.
"""

import io
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import openmm
import torch
from numpy.typing import NDArray
from openmm import app, unit
from pdbfixer import PDBFixer

from foldcli.errors import FoldcliError
from foldcli.geometry.atoms import atoms37_to_14
from foldcli.geometry.violations import violating_residues
from foldcli.protein.residues import ATOM37_INDEX, residue_types
from foldcli.protein.structure import Atom, Structure
from foldcli.report.pdb import pdb_text

FORCE_FIELD = "amber14/protein.ff14SB.xml"
STIFFNESS = 10.0 * unit.kilocalories_per_mole / unit.angstrom**2
# The force at which a minimization has converged: OpenMM's default, as in AlphaFold.
TOLERANCE = 10.0 * unit.kilojoules_per_mole / unit.nanometer
PH = 7.0
ROUNDS = 3
AMMONIUM = ("H2", "H3")  # hydrogens that the first residue of an open chain has in addition
RESTRAINTS = 1  # OpenMM's force group of the restraints, which the reported energies leave out


@dataclass(frozen=True)
class Relaxation:
    """A relaxed structure with its hydrogens, and how it differs from the unrelaxed one."""

    structure: Structure
    energy: tuple[float, float]  # of the force field without restraints, before and after, kcal/mol
    violations: tuple[int, int]  # residues with a violation, before and after
    moved: float  # root mean square displacement of the atoms that the prediction has, angstrom
    rounds: int
    engine: str


@dataclass(frozen=True)
class _Minimized:
    topology: app.Topology
    positions: NDArray[np.float64]
    energy: tuple[float, float]


def relax(structure: Structure, cuda: bool) -> Relaxation:
    """Minimize the energy with the predicted atoms restrained, in at most ROUNDS rounds, until nothing is violated.

    Residues with a violation after a round are not restrained in later ones. FoldcliError: a residue without atoms.
    """
    if empty := np.flatnonzero(~structure.mask.any(-1)).tolist():
        chain, number = structure.place(empty[0])
        where = f"residue {number} of chain {chain}" if structure.chain_lengths else f"residue {number}"
        raise FoldcliError(f"{where} has no atoms; a relaxation needs all of them")
    platform = choose_platform(cuda)
    before, relaxed, done, loose = violating(structure), structure, list[_Minimized](), set[int]()
    while len(done) < ROUNDS:
        topology, positions = _completed(relaxed, platform)
        held = [_is_held(atom, structure, loose) for atom in topology.atoms()]
        done.append(_minimized(topology, positions, held, platform))
        relaxed = _read(structure, done[-1])
        after = violating(relaxed)
        loose.update(after)
        if not after:
            break
    energy = done[0].energy[0], done[-1].energy[1]
    moved, rounds = _moved(structure, relaxed), len(done)
    engine = f"{platform.getName()} with OpenMM {openmm.__version__}"
    return Relaxation(relaxed, energy, (len(before), len(after)), moved, rounds, engine)


def choose_platform(cuda: bool) -> openmm.Platform:
    """OpenMM's CUDA platform if it is wanted and there, else its CPU platform."""
    names = {openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())}
    return openmm.Platform.getPlatformByName("CUDA" if cuda and "CUDA" in names else "CPU")


def _completed(structure: Structure, platform: openmm.Platform) -> tuple[app.Topology, unit.Quantity]:
    """The structure's topology and positions with missing atoms added; hydrogens are all placed anew."""
    fixer = PDBFixer(pdbfile=io.StringIO(pdb_text(replace(structure, hydrogens=()))), platform=platform)
    fixer.topology.setPeriodicBoxVectors(None)  # a PDB file's unit cell, which stands for no crystal
    fixer.missingResidues = {}
    fixer.findMissingAtoms()
    if structure.cyclic:
        fixer.missingTerminals = {}
    fixer.addMissingAtoms(seed=0)
    if structure.cyclic:
        _join_ends(fixer.topology)
    fixer.addMissingHydrogens(PH)
    if not structure.cyclic:
        return fixer.topology, fixer.positions
    ring = app.Modeller(fixer.topology, fixer.positions)
    first = next(ring.topology.residues())
    ring.delete([atom for atom in first.atoms() if atom.name in AMMONIUM])
    return ring.topology, ring.positions


def _join_ends(topology: app.Topology) -> None:
    """Bond the last residue's C to the first residue's N."""
    first, *_, last = topology.residues()
    carbon = next(atom for atom in last.atoms() if atom.name == "C")
    nitrogen = next(atom for atom in first.atoms() if atom.name == "N")
    topology.addBond(carbon, nitrogen)


def _is_held(atom: app.topology.Atom, structure: Structure, loose: Collection[int]) -> bool:
    """Whether an atom is restrained: the structure has it, and its residue is not in `loose`."""
    place, slot = atom.residue.index, ATOM37_INDEX.get(atom.name)
    return slot is not None and place not in loose and bool(structure.mask[place, slot])


def _minimized(
    topology: app.Topology, positions: unit.Quantity, held: Collection[bool], platform: openmm.Platform
) -> _Minimized:
    system = app.ForceField(FORCE_FIELD).createSystem(topology, constraints=app.HBonds)
    system.addForce(_restraints(positions, held))
    # A Simulation needs an integrator; it takes no step.
    simulation = app.Simulation(topology, system, openmm.VerletIntegrator(0.001), platform)
    simulation.context.setPositions(positions)
    before = _energy(simulation.context)
    simulation.minimizeEnergy(TOLERANCE, reporter=_Reporter())
    state = simulation.context.getState(positions=True)
    found = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    if not np.isfinite(found).all():
        raise FoldcliError("the minimization ended in positions that are NaN or infinite")
    return _Minimized(topology, found, (before, _energy(simulation.context)))


class _Reporter(openmm.MinimizationReporter):
    """Returns to Python after each iteration, so that Ctrl-C ends a minimization at once."""

    def report(self, iteration: int, x: object, grad: object, args: object) -> bool:
        return False


def _restraints(positions: unit.Quantity, held: Collection[bool]) -> openmm.CustomExternalForce:
    force = openmm.CustomExternalForce("0.5 * k * ((x - x0)^2 + (y - y0)^2 + (z - z0)^2)")
    force.setForceGroup(RESTRAINTS)
    force.addGlobalParameter("k", STIFFNESS)
    for name in ("x0", "y0", "z0"):
        force.addPerParticleParameter(name)
    for number, (place, hold) in enumerate(zip(positions, held, strict=True)):
        if hold:
            force.addParticle(number, place)
    return force


def _energy(context: openmm.Context) -> float:
    energy = context.getState(energy=True, groups=~(1 << RESTRAINTS) & 0xFFFFFFFF).getPotentialEnergy()
    return float(energy.value_in_unit(unit.kilocalories_per_mole))


def _read(structure: Structure, found: _Minimized) -> Structure:
    """The structure with the minimized positions, the atoms that were added, and the hydrogens."""
    positions, mask, hydrogens = np.zeros_like(structure.positions), np.zeros_like(structure.mask), list[Atom]()
    for atom, (x, y, z) in zip(found.topology.atoms(), found.positions.tolist(), strict=True):
        place, slot = atom.residue.index, ATOM37_INDEX.get(atom.name)
        if slot is None:
            hydrogens.append((place, atom.name, (x, y, z)))
        else:
            positions[place, slot], mask[place, slot] = (x, y, z), True
    return replace(structure, positions=positions, mask=mask, hydrogens=hydrogens)


def violating(structure: Structure) -> list[int]:
    """Indices of the residues with a violation (Suppl. Sec. 1.9.11)."""
    aatype = torch.from_numpy(residue_types(structure.sequence).astype(np.int64))
    atoms = atoms37_to_14(aatype, torch.from_numpy(structure.positions))
    exists = atoms37_to_14(aatype, torch.from_numpy(structure.mask).float().unsqueeze(-1)).squeeze(-1)
    # numbers that go up by one where a peptide bond is, and by two from a chain to the next
    apart = torch.from_numpy(np.arange(len(aatype)) + structure.chain_of)
    bad = violating_residues(atoms, exists, aatype, apart, structure.cyclic)
    return [int(place) for place in bad.nonzero()]


def _moved(before: Structure, after: Structure) -> float:
    change = (after.positions - before.positions)[before.mask]
    return float(np.sqrt((change.astype(np.float64) ** 2).sum(-1).mean()))
