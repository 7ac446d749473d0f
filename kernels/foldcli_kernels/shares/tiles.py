"""Tiles of the kernel that adds shares."""

from foldcli_kernels.tuning import Parameters

SHARES_AT_ONCE = 5
# Columns of a program, in whole memory sectors, and how many parts it adds at once. Few columns, such as those of a
# layer norm, come with many parts: narrow blocks keep more programs busy. A pair bias has many columns and few parts.
NARROW: Parameters = {"BLOCK": 32, "PARTS": 64}
WIDE: Parameters = {"BLOCK": 256, "PARTS": 8}
MOST_WIDE = 16  # parts


def tile_of(most: int) -> Parameters:
    """Return the tile for shares of at most so many parts."""
    return WIDE if most <= MOST_WIDE else NARROW
