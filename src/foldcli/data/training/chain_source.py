"""The interface from which training gets its chains, their filters and sampling weights."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foldcli.config import SourceConfig
from foldcli.data.chain import Chain
from foldcli.data.formats.name_list import read_names

# Lengths between which a chain's sampling weight grows with its length (Suppl. Sec. 1.2.5).
SHORTEST, LONGEST = 256, 512


@dataclass(frozen=True)
class Entry:
    """What filters and sampling weights need of a chain before it is loaded.

    cluster: number of its sequence cluster; released: YYYY-MM-DD, empty if unknown; resolution in angstrom, 0 where
    there is none; share: fraction of its most common residue type.
    """

    name: str
    length: int
    cluster: int
    released: str = ""
    resolution: float = 0.0
    share: float = 0.0


class ChainSource(Protocol):
    """Chains that passed the filters; it can be pickled to worker processes without the chains themselves."""

    @property
    def entries(self) -> Sequence[Entry]: ...

    @property
    def dropped(self) -> Mapping[str, int]:
        """Numbers of chains left out, by reason."""
        ...

    def load(self, position: int) -> Chain:
        """Load the chain of an entry; InputError names file and record if it cannot be read."""
        ...


def filter_entries(entries: Sequence[Entry], config: SourceConfig) -> tuple[list[int], Counter[str]]:
    """Apply the filters (Suppl. Sec. 1.2.5): positions of entries that pass, and numbers of the others by reason."""
    excluded = read_names(Path(config.exclude)) if config.exclude else frozenset()
    reasons = ["excluded by name" if entry.name in excluded else _reason(entry, config) for entry in entries]
    return [k for k, reason in enumerate(reasons) if not reason], Counter(filter(None, reasons))


def _reason(entry: Entry, config: SourceConfig) -> str:
    if config.max_date and not entry.released:
        return "without a release date"
    if config.max_date and entry.released > config.max_date:
        return f"released after {config.max_date}"
    if entry.resolution > config.max_resolution:
        return f"resolved to more than {config.max_resolution:g} angstrom"
    if entry.share > config.max_share:
        return f"more than {config.max_share:.0%} of one kind of residue"
    return ""


def describe_dropped(dropped: Mapping[str, int]) -> str:
    """Numbers by reason, on one line."""
    return ", ".join(f"{count} {reason}" for reason, count in dropped.items())


def commonest_share(sequence: str) -> float:
    """Fraction of a sequence's most common residue type."""
    return max(Counter(sequence).values()) / len(sequence)


def sampling_weights(entries: Sequence[Entry]) -> NDArray[np.float64]:
    """Probability of drawing each entry, with sum 1 (Suppl. Sec. 1.2.5).

    Proportional to the inverse size of its cluster among the entries, and to its length clipped to 256..512 residues.
    """
    sizes = Counter(entry.cluster for entry in entries)
    accepted = np.clip([entry.length for entry in entries], SHORTEST, LONGEST) / LONGEST
    chances = accepted / np.array([sizes[entry.cluster] for entry in entries])
    return chances / chances.sum()
