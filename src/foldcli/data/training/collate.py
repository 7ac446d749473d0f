"""Pad the samples of a micro-batch to one shape and stack them."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from foldcli.data.training.sample import Sample


def stack(samples: Sequence[Sample]) -> Sample:
    """Stack samples along a leading axis [b, ...], padded at the end with zeros, which are masked, to the largest.

    All samples must have the same number of passes.
    """
    return _stack(samples)


def _stack(values: Sequence[Any]) -> Any:
    """Stack dataclasses and tuples field by field; tuples of names are concatenated."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.stack(_filled(values))
    if is_dataclass(first) and not isinstance(first, type):
        parts = {field.name: _stack([getattr(value, field.name) for value in values]) for field in fields(first)}
        return type(first)(**parts)
    if isinstance(first, tuple) and isinstance(first[0], str):
        return sum(values, ())
    if isinstance(first, tuple):
        return tuple(_stack(parts) for parts in zip(*values, strict=True))
    return None


def _filled(tensors: Sequence[Tensor]) -> list[Tensor]:
    largest = torch.Size(max(sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True))
    return [tensor if tensor.shape == largest else fill(tensor, largest) for tensor in tensors]


def fill(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Pad a tensor with zeros at the end of each axis to a shape."""
    filled = tensor.new_zeros(shape)
    filled[tuple(slice(size) for size in tensor.shape)] = tensor
    return filled
