"""Triton kernels for the Evoformer, one package for each operation; imports torch and triton only.

In each package: tiles.py has the tile sizes and launch parameters, forward.py and backward.py the kernels, launch.py
what prepares and launches them, operator.py the operator that torch sees, with its gradient, and aot.py every
configuration that is compiled ahead of time, to be checked without a GPU.
"""

import os

# The compiler may fuse a product and a sum, as every kernel here expects; from Triton 3.10 on this must be asked for.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
