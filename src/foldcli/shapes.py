"""Every shape letter, one legend; a pair tensor is `i j`, never `r r`, since a shard is not square.

b: leading batch axes, any number (samples, templates)      s: rows of the alignment (clusters)
i, j: residues                                              e: rows of the extra alignment
t: templates                                                h: heads
c_m, c_z, c_s, c_t: channels of the MSA, pair, single and template representations
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Msa = Float[Tensor, "*b s i c_m"]
MsaMask = Float[Tensor, "*b s i"]
Pair = Float[Tensor, "*b i j c_z"]
PairMask = Float[Tensor, "*b i j"]
Single = Float[Tensor, "*b i c_s"]
ResidueMask = Float[Tensor, "*b i"]
ResidueIndex = Int[Tensor, "*b i"]
StartFrames = Float[Tensor, "*b i 7"]  # quaternion (w, x, y, z), then a translation in angstrom
Points = Float[Tensor, "*b i 3"]
Atoms14 = Float[Tensor, "*b i 14 3"]
Atoms37 = Float[Tensor, "*b i 37 3"]
Atoms37Mask = Float[Tensor, "*b i 37"]

__all__ = [
    "Atoms14", "Atoms37", "Atoms37Mask", "Bool", "Float", "Int", "Msa", "MsaMask", "Pair", "PairMask", "Points",
    "ResidueIndex", "ResidueMask", "Single", "StartFrames", "Tensor",
]  # fmt: skip
