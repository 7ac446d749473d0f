"""Triton kernels for the Evoformer; imports torch and triton only."""

import os

# What every kernel is written for; from Triton 3.10 on a product and a sum are not fused unless asked for.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
