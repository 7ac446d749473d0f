"""Where training gets its chains: one interface, whatever they are kept in."""

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

# Lengths between which a chain's chance grows with its length (Suppl. Sec. 1.2.5).
SHORTEST, LONGEST = 256, 512


@dataclass(frozen=True)
class Entry:
    """What is known of a chain before it is loaded.

    cluster: chains alike have one number; released: YYYY-MM-DD, empty if nobody knows; resolution in angstrom, 0 where
    there is none; share of its commonest kind of residue, 0 to 1.
    """

    name: str
    length: int
    cluster: int
    released: str = ""
    resolution: float = 0.0
    share: float = 0.0


class ChainSource(Protocol):
    """Chains that passed the filters. Worker processes may get it by fork or by pickle, which carries no chain."""

    @property
    def entries(self) -> Sequence[Entry]: ...

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many chains were left out, by reason."""
        ...

    def load(self, position: int) -> Chain:
        """The chain of an entry; InputError names file and record of one that cannot be read."""
        ...


def filter_entries(entries: Sequence[Entry], config: SourceConfig) -> tuple[list[int], Counter[str]]:
    """Positions of the entries that pass the filters (Suppl. Sec. 1.2.5), and counts of the others by reason."""
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
    """Counts by reason, on one line."""
    return ", ".join(f"{count} {reason}" for reason, count in dropped.items())


def commonest_share(sequence: str) -> float:
    """The share of a sequence's commonest kind of residue."""
    return max(Counter(sequence).values()) / len(sequence)


def sampling_weights(entries: Sequence[Entry]) -> NDArray[np.float64]:
    """How likely each entry is drawn, summing to 1 (Suppl. Sec. 1.2.5).

    Inverse to its cluster's size among the entries, times the chance that its length is accepted, 1/2 up to 256
    residues and 1 from 512.
    """
    sizes = Counter(entry.cluster for entry in entries)
    accepted = np.clip([entry.length for entry in entries], SHORTEST, LONGEST) / LONGEST
    chances = accepted / np.array([sizes[entry.cluster] for entry in entries])
    return chances / chances.sum()
