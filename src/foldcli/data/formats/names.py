"""Record names that are safe as file names and unique within a run."""

import re
from collections.abc import Sequence

# Output files are called NAME_unrelaxed_rank_001_..., and file systems allow 255 bytes.
LONGEST = 100


def safe_name(title: str, otherwise: str) -> str:
    """Reduce a header's first word to A-Z a-z 0-9 . _ -, led by a letter or digit; `otherwise` if nothing is left."""
    word = (title.split() or [""])[0]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", word).lstrip("._-").rstrip("_")
    return name[:LONGEST] or otherwise


def unique_names(names: Sequence[str]) -> list[str]:
    """Make names unique by a suffix; the first of equal names stays: a, b, a -> a, b, a_2.

    Names that differ only in case count as equal: some file systems would make one file of them.
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
