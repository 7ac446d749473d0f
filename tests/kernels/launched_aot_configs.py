"""Launches that once ran badly on a GPU, for the report on compiled kernels, for sm_90.

Each began in a class that no table of tiles had: a single sequence, heads' biases, sizes of the model `mini`, lengths
that are no multiples of 16.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from foldcli_kernels.aot import AotConfig
from foldcli_kernels.launches import recorded
from foldcli_kernels.norm_linear import norm_linear
from foldcli_kernels.outer_product import outer_product_mean
from foldcli_kernels.transition import transition
from foldcli_kernels.triangle_multiplication import triangle_update
from torch import Tensor

LENGTH = 12  # residues; no multiple of 16, though its square is one


def zeros(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.zeros(shape, dtype=dtype, requires_grad=True)


def outer_products() -> list[Tensor]:
    """As AlphaFold's presets launch it, for a single sequence and for several."""
    weight = zeros(128, 1024), zeros(128)
    x = (zeros(sequences, LENGTH, 32) for sequences in (1, 5, 16))
    return [outer_product_mean(left, left, weight, torch.ones(LENGTH, LENGTH, dtype=left.dtype)) for left in x]


def biases_of_heads() -> list[Tensor]:
    return norm_linear(zeros(LENGTH, LENGTH, 128), (zeros(128), zeros(128)), [(zeros(4, 128), None)])


def transition_of_template() -> list[Tensor]:
    x, norm, wide, narrow = (
        [zeros(*shape, dtype=torch.float32) for shape in shapes]
        for shapes in (((LENGTH, LENGTH, 32),), ((32,), (32,)), ((64, 32), (64,)), ((32, 64), (32,)))
    )
    return [transition(x[0], tuple(norm), tuple(wide), tuple(narrow))]


def triangles_of_template() -> list[Tensor]:
    norm, dense = (zeros(32), zeros(32)), (zeros(32, 32), zeros(32))
    return [triangle_update(zeros(32, LENGTH, LENGTH), zeros(LENGTH, LENGTH, 32), norm, dense, norm, dense)]


# Kernel -> what launches it, forward or backward.
LAUNCHES: dict[str, Callable[[], list[Tensor]]] = {
    "outer_product_mean_forward": outer_products,
    "norm_linear_backward_weights": biases_of_heads,
    "transition_backward_input": transition_of_template,
    "triangle_update_backward_weights": triangles_of_template,
}


def aot_configs() -> list[AotConfig]:
    """Return each distinct launch of these kernels, one of each."""
    found = []
    for kernel, launch in LAUNCHES.items():
        with recorded() as launched:
            torch.stack([result.float().sum() for result in launch()]).sum().backward()
        found += [config for config in launched if config.function.__name__ == kernel]
    return [replace(config, capabilities=(90,)) for config in found]
