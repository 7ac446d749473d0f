"""Untrained parameters that any program can rebuild from their names, for tests and comparisons."""

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

STACKED = ("evoformer_iteration", "extra_msa_stack", "__layer_stack_no_state", "template_embedding_iteration")
BIASES = ("bias", "offset", "query_b", "gating_b", "output_b", "b")


def seeded_parameters(
    shapes: Mapping[str, tuple[int, ...]], scale: float = 1.0, seed: int = 0
) -> dict[str, NDArray[np.float32]]:
    """Random parameters under AlphaFold's names, each from a generator that is seeded with its name and `seed`.

    Weights have the standard deviation scale / sqrt(fan-in); scales of layer norms are near 1, biases near 0.
    """
    return {name: _draw(name, shape, scale, seed) for name, shape in shapes.items()}


def _draw(name: str, shape: tuple[int, ...], scale: float, seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(zlib.crc32(name.encode(), seed)).standard_normal(shape, dtype=np.float32)
    scope, leaf = name.split("//")
    one_layer = shape[1:] if any(part in scope for part in STACKED) else shape
    if leaf == "scale":
        return (1.0 + 0.1 * noise).astype(np.float32)
    if leaf in BIASES or len(one_layer) < 2:
        return (0.1 * noise).astype(np.float32)
    return (scale * noise / np.sqrt(np.prod(one_layer[:-1]))).astype(np.float32)
