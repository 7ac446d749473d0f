"""A predicted protein, of one chain or several, and its confidence."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from foldcli.protein.chain_names import chain_name
from foldcli.protein.residues import ATOM37

# An atom: index of its residue in the structure, name, and coordinates in angstrom.
Atom = tuple[int, str, tuple[float, float, float]]


@dataclass(frozen=True)
class ChainSpan:
    """One chain of a structure: its name, and where its residues are in the structure's arrays."""

    name: str
    span: slice


@dataclass(frozen=True)
class Structure:
    """One chain or several in the 37-slot atom layout of `residues.ATOM37`.

    sequence: one-letter codes; positions [i, 37, 3] in angstrom; mask [i, 37]: atoms present; residue_index [i]:
    their numbers; b_factor [i]: the file's B-factor column (pLDDT); hydrogens: of a relaxed structure, which have no
    slots; cyclic: the last residue is bonded to the first; chain_lengths: of a complex, the residues of each chain,
    which follow each other in all arrays, numbered from 1 in each; empty for a single chain; chain_names: of chains
    that are not named A, B, and so on.
    """

    sequence: str
    positions: NDArray[np.float32]
    mask: NDArray[np.bool_]
    residue_index: NDArray[np.int64]
    b_factor: NDArray[np.float32]
    hydrogens: Sequence[Atom] = ()
    cyclic: bool = False
    chain_lengths: tuple[int, ...] = ()
    chain_names: tuple[str, ...] = ()

    @cached_property
    def chains(self) -> tuple[ChainSpan, ...]:
        """All chains, in their order."""
        lengths = self.chain_lengths or (len(self.sequence),)
        names = self.chain_names or [chain_name(k) for k in range(len(lengths))]
        ends = np.cumsum(lengths).tolist()
        spans = (slice(end - length, end) for end, length in zip(ends, lengths, strict=True))
        return tuple(ChainSpan(name, span) for name, span in zip(names, spans, strict=True))

    @cached_property
    def chain_of(self) -> NDArray[np.int64]:
        """Which of `chains` each residue is in [i]."""
        return np.repeat(np.arange(len(self.chains)), self.chain_lengths or len(self.sequence))

    @cached_property
    def entities(self) -> dict[str, list[ChainSpan]]:
        """The chains of each different sequence, in the order of the first of each."""
        found: dict[str, list[ChainSpan]] = defaultdict(list)
        for chain in self.chains:
            found[self.sequence[chain.span]].append(chain)
        return dict(found)

    def place(self, i: int) -> tuple[str, int]:
        """The name of a residue's chain, and its number in it."""
        return self.chains[self.chain_of[i]].name, int(self.residue_index[i])

    def atoms(self) -> Iterator[Atom]:
        """Yield all atoms by residue, hydrogens last."""
        hydrogens: dict[int, list[Atom]] = defaultdict(list)
        for atom in self.hydrogens:
            hydrogens[atom[0]].append(atom)
        places = iter(self.positions[self.mask].tolist())  # at once: numbers of an array are slow to get one by one
        for i, present in enumerate(self.mask.tolist()):
            for name in itertools.compress(ATOM37, present):
                x, y, z = next(places)
                yield i, name, (x, y, z)
            yield from hydrogens[i]


@dataclass(frozen=True)
class Interfaces:
    """Confidence of the chains of a complex and of their pairs; of [k, l], chain k is aligned on and chain l scored.

    plddt [k]: each chain's mean; ptm [k]: each chain's pTM by its own length; pair_ptm [k, l]: of two chains ipTM, of
    one (on the diagonal) pTM, by the length of the complex; pae_min [k, l] in angstrom; contacts [k, l]: pairs of
    residues in contact; ipsae, pdockq, pdockq2 [k, l]: see `protein.interfaces`; clash: whether atoms overlap.
    """

    plddt: NDArray[np.float64]
    ptm: NDArray[np.float64]
    pair_ptm: NDArray[np.float64]
    pae_min: NDArray[np.float64]
    contacts: NDArray[np.int64]
    ipsae: NDArray[np.float64]
    pdockq: NDArray[np.float64]
    pdockq2: NDArray[np.float64]
    clash: bool


@dataclass(frozen=True)
class Prediction:
    """A structure with its confidence, by one model from one seed.

    plddt [i] in 0..100; pae [i, j] in angstrom: expected error of residue j when aligned on residue i, and max_pae: its
    largest possible value, for models that predict it; ptm in 0..1; of a complex, iptm in 0..1 and interfaces;
    recycles: passes after the first; passes: what each pass predicted, where that is asked for, without aligned errors,
    interfaces and representations.
    """

    structure: Structure
    plddt: NDArray[np.float32]
    model: str
    seed: int
    recycles: int
    ptm: float | None = None
    iptm: float | None = None
    interfaces: Interfaces | None = None
    pae: NDArray[np.float32] | None = None
    max_pae: float | None = None
    representations: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    passes: Sequence["Prediction"] = ()

    @property
    def mean_plddt(self) -> float:
        return float(self.plddt.mean())
