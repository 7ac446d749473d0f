"""Triton kernels for the Evoformer; imports torch and triton only."""
