"""Which chains of a collection are related to which: the templates of training, found once and kept."""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldcli.errors import InputError
from foldcli.files import atomic_file
from foldcli.search.hits import Hit, Sequences

MOST = 8
# Far above what anybody would trust: training is to see poor templates too.
WEAKEST = 10.0
AT_ONCE = 100


@dataclass(frozen=True)
class Relatives:
    """Hits among n chains, those of one query together and the best first.

    names [n]; ends [n]: where each chain's hits end in the arrays of all h hits; hit [h]: numbers of chains; identity
    and evalue [h]; stretch_ends [h]: where each hit's stretches end; stretches [k, 3]: an aligned run's first query
    column, first residue of the hit, and length.
    """

    names: NDArray[np.str_]
    ends: NDArray[np.int64]
    hit: NDArray[np.int32]
    identity: NDArray[np.float32]
    evalue: NDArray[np.float64]
    stretch_ends: NDArray[np.int64]
    stretches: NDArray[np.uint16]

    def of(self, number: int) -> list[Hit]:
        """The hits of a chain."""
        first = int(self.ends[number - 1]) if number else 0
        return [self._hit(k) for k in range(first, int(self.ends[number]))]

    def _hit(self, k: int) -> Hit:
        first = int(self.stretch_ends[k - 1]) if k else 0
        runs = self.stretches[first : int(self.stretch_ends[k])].astype(np.int64)
        columns, places = (np.concatenate([np.arange(s, s + n) for s, n in runs[:, [side, 2]]]) for side in (0, 1))
        return Hit(str(self.names[self.hit[k]]), columns, places, float(self.identity[k]), float(self.evalue[k]))


def find_relatives(
    names: Sequence[str], sequences: Sequence[str], threads: int, report: Callable[[int, int], None]
) -> Relatives:
    """Search every chain among all others with phmmer; `report` hears how many of how many are done."""
    database, found = Sequences(names, sequences), list[list[Hit]]()
    for first in range(0, len(names), AT_ONCE):
        queries = zip(names[first : first + AT_ONCE], sequences[first : first + AT_ONCE], strict=True)
        for name, hits in zip(names[first:], database.phmmer(queries, WEAKEST, threads), strict=False):
            found.append(spread([hit for hit in hits if hit.name != name]))
        report(len(found), len(names))
    return pack(names, found)


def spread(hits: Sequence[Hit]) -> list[Hit]:
    """At most MOST of ranked hits: the best, the last, and between them ever wider apart."""
    if len(hits) <= MOST:
        return list(hits)
    return [hits[rank - 1] for rank in np.unique(np.geomspace(1, len(hits), MOST).round().astype(int))]


def pack(names: Sequence[str], found: Sequence[Sequence[Hit]]) -> Relatives:
    """The hits of each chain, in the order of `names`, as arrays."""
    number = {name: k for k, name in enumerate(names)}
    hits = [hit for one in found for hit in one]
    runs = [_stretches(hit) for hit in hits]
    return Relatives(
        names=np.array(names),
        ends=np.cumsum([len(one) for one in found], dtype=np.int64),
        hit=np.array([number[hit.name] for hit in hits], np.int32),
        identity=np.array([hit.identity for hit in hits], np.float32),
        evalue=np.array([hit.evalue for hit in hits], np.float64),
        stretch_ends=np.cumsum([len(run) for run in runs], dtype=np.int64),
        stretches=np.concatenate([np.zeros((0, 3), np.uint16), *runs]),
    )


def _stretches(hit: Hit) -> NDArray[np.uint16]:
    """Runs along which query and hit advance together [k, 3]."""
    breaks = np.flatnonzero((np.diff(hit.columns) != 1) | (np.diff(hit.places) != 1)) + 1
    starts = np.concatenate([[0], breaks])
    lengths = np.diff(np.append(starts, len(hit.columns)))
    return np.stack([hit.columns[starts], hit.places[starts], lengths], axis=1).astype(np.uint16)


def write_relatives(path: Path, relatives: Relatives) -> None:
    with atomic_file(path) as file:
        np.savez_compressed(file, **vars(relatives))


def read_relatives(path: Path) -> Relatives:
    """What `foldcli data relatives` wrote; InputError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Relatives(**arrays)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; make it with foldcli data relatives CHAINS.npz... -o {path}") from None
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a file of relatives; make it with foldcli data relatives") from error
