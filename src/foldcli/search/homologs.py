"""Homologs of training chains in a library of known structures: found once, stored, and loaded as templates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from foldcli.config import SourceConfig
from foldcli.data.chain import Chain, Template
from foldcli.data.formats.mapped_npz import open_arrays
from foldcli.data.training.chain_source import ChainSource, Entry
from foldcli.errors import InputError
from foldcli.files import atomic_file
from foldcli.search.chains import KnownChain
from foldcli.search.hits import Hit
from foldcli.search.library import Library, bundled

MAX_HITS = 8
# E-value far beyond significance: training is to see poor templates too.
WEAKEST = 10.0
AT_ONCE = 100


@dataclass(frozen=True)
class Homologs:
    """Hits of n chains among m library chains, grouped by chain, best first.

    names [n] and known [m]: names of both; ends [n]: the end of each chain's hits in the arrays of all h hits; hit [h]:
    index of the library chain; identity and evalue [h]; stretch_ends [h]: the end of each hit's rows in stretches;
    stretches [k, 3]: first query column, first residue of the hit, and length of each aligned run without gaps.
    """

    names: NDArray[np.str_]
    known: NDArray[np.str_]
    ends: NDArray[np.int64]
    hit: NDArray[np.int32]
    identity: NDArray[np.float32]
    evalue: NDArray[np.float64]
    stretch_ends: NDArray[np.int64]
    stretches: NDArray[np.uint16]

    def of(self, number: int, evalue: float = WEAKEST) -> list[Hit]:
        """Hits of a chain up to an E-value."""
        first = int(self.ends[number - 1]) if number else 0
        return [self._hit(k) for k in range(first, int(self.ends[number])) if self.evalue[k] <= evalue]

    def _hit(self, k: int) -> Hit:
        first = int(self.stretch_ends[k - 1]) if k else 0
        runs = self.stretches[first : int(self.stretch_ends[k])].astype(np.int64)
        columns, places = (np.concatenate([np.arange(s, s + n) for s, n in runs[:, [side, 2]]]) for side in (0, 1))
        return Hit(str(self.known[self.hit[k]]), columns, places, float(self.identity[k]), float(self.evalue[k]))


def find_homologs(
    chains: Sequence[KnownChain], library: Library, threads: int, progress: Callable[[int, int], None]
) -> Homologs:
    """Search each chain in a library with phmmer, except itself; `progress` is called with chains done and in total."""
    found: list[list[Hit]] = []
    for first in range(0, len(chains), AT_ONCE):
        queries = [(chain.name, chain.sequence) for chain in chains[first : first + AT_ONCE]]
        for (name, _), hits in zip(queries, library.sequences.phmmer(queries, WEAKEST, threads), strict=True):
            found.append(spread([hit for hit in hits if hit.name != name]))
        progress(len(found), len(chains))
    return pack([chain.name for chain in chains], list(library.sequences.letters), found)


def spread(hits: Sequence[Hit]) -> list[Hit]:
    """Thin ranked hits out to at most MAX_HITS, the best and the last included, at geometrically spaced ranks."""
    if len(hits) <= MAX_HITS:
        return list(hits)
    return [hits[rank - 1] for rank in np.unique(np.geomspace(1, len(hits), MAX_HITS).round().astype(int))]


def pack(names: Sequence[str], known: Sequence[str], found: Sequence[Sequence[Hit]]) -> Homologs:
    """Pack the hits of each chain, in the order of `names`, into arrays."""
    number = {name: k for k, name in enumerate(known)}
    hits = [hit for one in found for hit in one]
    runs = [_stretches(hit) for hit in hits]
    return Homologs(
        names=np.array(names),
        known=np.array(known),
        ends=np.cumsum([len(one) for one in found], dtype=np.int64),
        hit=np.array([number[hit.name] for hit in hits], np.int32),
        identity=np.array([hit.identity for hit in hits], np.float32),
        evalue=np.array([hit.evalue for hit in hits], np.float64),
        stretch_ends=np.cumsum([len(run) for run in runs], dtype=np.int64),
        stretches=np.concatenate([np.zeros((0, 3), np.uint16), *runs]),
    )


def _stretches(hit: Hit) -> NDArray[np.uint16]:
    """Aligned runs without gaps [k, 3]: first query column, first residue, length."""
    breaks = np.flatnonzero((np.diff(hit.columns) != 1) | (np.diff(hit.places) != 1)) + 1
    starts = np.concatenate([[0], breaks])
    lengths = np.diff(np.append(starts, len(hit.columns)))
    return np.stack([hit.columns[starts], hit.places[starts], lengths], axis=1).astype(np.uint16)


def write_homologs(path: Path, homologs: Homologs) -> None:
    with atomic_file(path) as file:
        np.savez_compressed(file, **vars(homologs))


def read_homologs(path: Path) -> Homologs:
    """Read what `foldcli data relatives` wrote; InputError for any other file."""
    try:
        return Homologs(**open_arrays(path))
    except TypeError:
        raise InputError(f"{path}: not a file of relatives; make it with `foldcli data relatives`") from None


def with_homologs(source: ChainSource, config: SourceConfig) -> ChainSource:
    """Add homologs as templates to a source's chains, if the configuration names a file of them."""
    return HomologSource(source, config) if config.relatives else source


class HomologSource:
    """Chains with structures of homologs as templates (a `chain_source.ChainSource`)."""

    def __init__(self, source: ChainSource, config: SourceConfig) -> None:
        self._origin = source, config
        self._source, self._evalue = source, config.max_evalue
        self._library = Library(Path(config.library) if config.library else bundled())
        self._homologs = read_homologs(Path(config.relatives))
        self._number = {name: k for k, name in enumerate(self._homologs.names.tolist())}

    def __reduce__(self) -> tuple[type["HomologSource"], tuple[ChainSource, SourceConfig]]:
        """Pickle the configuration only; the other process opens the files itself."""
        return HomologSource, self._origin

    @property
    def entries(self) -> Sequence[Entry]:
        return self._source.entries

    @property
    def dropped(self) -> Mapping[str, int]:
        return self._source.dropped

    def load(self, position: int) -> Chain:
        """Load a chain with a template for each homolog in the library, best first."""
        chain = self._source.load(position)
        number = self._number.get(chain.name)
        hits = [] if number is None else self._homologs.of(number, self._evalue)
        known = [hit for hit in hits if hit.name in self._library]
        return replace(chain, templates=LazyTemplates(known, self._library, len(chain.sequence)))


class LazyTemplates(Sequence[Template]):
    """Templates made on demand, since a sample uses few of them, or none."""

    def __init__(self, hits: Sequence[Hit], library: Library, length: int) -> None:
        self._hits, self._library, self._length = hits, library, length

    def __len__(self) -> int:
        return len(self._hits)

    @overload
    def __getitem__(self, which: int) -> Template: ...
    @overload
    def __getitem__(self, which: slice) -> Sequence[Template]: ...
    def __getitem__(self, which: int | slice) -> Template | Sequence[Template]:
        if isinstance(which, slice):
            return [self._library.template(hit, self._length) for hit in self._hits[which]]
        return self._library.template(self._hits[which], self._length)
