"""A compiler pass that fits a module into a memory budget: capture, dimension flow, memory model, search, rewrite."""

from foldcli.autochunk.chunked import Chunked, autochunk

__all__ = ["Chunked", "autochunk"]
