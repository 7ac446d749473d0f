"""Record names that are safe as file names and unique within a run."""

import re
from collections.abc import Sequence

# Files are called NAME_unrelaxed_rank_001_..., and file systems take 255 bytes.
LONGEST = 100


def safe_name(title: str, otherwise: str) -> str:
    """The first word of a header in A-Z a-z 0-9 . _ - alone, with no dot in front; `otherwise` if nothing is left."""
    word = (title.split() or [""])[0]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", word).lstrip("._").rstrip("_")
    return name[:LONGEST] or otherwise


def unique_names(names: Sequence[str]) -> list[str]:
    """Tell equal names apart by a suffix, the first keeping its own: a, b, a -> a, b, a_2.

    Names that differ in case alone are equal: they would be one file on some file systems.
    """
    taken = {name.casefold() for name in names}
    seen: set[str] = set()
    unique = []
    for name in names:
        if name.casefold() in seen:
            name = _numbered(name, taken)
            taken.add(name.casefold())
        seen.add(name.casefold())
        unique.append(name)
    return unique


def _numbered(name: str, taken: set[str]) -> str:
    number = 2
    while True:
        suffix = f"_{number}"
        candidate = name[: LONGEST - len(suffix)] + suffix
        if candidate.casefold() not in taken:
            return candidate
        number += 1
