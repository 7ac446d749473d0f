"""Gradients of parameters as sums over programs, each of which has written its share of them."""

from foldcli_kernels.shares.launch import add_shares, sections

__all__ = ["add_shares", "sections"]
