"""All parameters of a model in one float32 buffer, so that an update takes few launches, not some for each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import nn

from foldcli.shapes import Tensor

# Elements; every parameter starts at a multiple, since kernels are faster where addresses are multiples of 16 bytes.
ALIGNMENT = 64


@dataclass(frozen=True)
class Place:
    """Where a parameter lies: `start` in the buffer, `room` elements of it; `order` among the model's parameters."""

    name: str
    order: int
    shape: torch.Size
    dtype: torch.dtype
    matrix: bool
    start: int = 0

    @property
    def room(self) -> int:
        return -(-self.shape.numel() // ALIGNMENT) * ALIGNMENT

    def view(self, buffer: Tensor) -> Tensor:
        return buffer[self.start : self.start + self.shape.numel()].view(self.shape)


class FlatParameters:
    """Float32 masters of a model's parameters in one buffer, matrices first, those of one shape side by side.

    The model's parameters become views: of the masters where they are float32, else of a copy in their own precision.
    Gaps between parameters are zero in every buffer of this layout.
    """

    def __init__(self, model: nn.Module, matrices_apart: bool) -> None:
        named = list(model.named_parameters())
        self.parameters = [p for _, p in named]
        self.places = _arranged(
            Place(name, order, p.shape, p.dtype, matrices_apart and p.dim() == 2)
            for order, (name, p) in enumerate(named)
        )
        self.device = self.parameters[0].device
        self.size = self.places[-1].start + self.places[-1].room
        self.matrices = sum(place.room for place in self.places if place.matrix)
        self.masters = self.zeros()
        self.copies = {dtype: self.zeros(dtype) for dtype in {p.dtype for p in self.parameters} - {torch.float32}}
        self.gaps = {p.dtype: torch.zeros(ALIGNMENT, dtype=p.dtype, device=self.device) for p in self.parameters}
        with torch.no_grad():
            for place, parameter in self._both():
                place.view(self.masters).copy_(parameter)
                parameter.data = place.view(self.copies.get(place.dtype, self.masters))
            self.copy_to_model()

    def zeros(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """A buffer of this layout."""
        return torch.zeros(self.size, dtype=dtype, device=self.device)

    def named_views(self, buffer: Tensor) -> dict[str, Tensor]:
        """The parts of a buffer by parameter, in the model's order."""
        return {place.name: place.view(buffer) for place in sorted(self.places, key=lambda place: place.order)}

    def stacks(self) -> list[list[Place]]:
        """Matrices that lie side by side and have one shape."""
        matrices = [place for place in self.places if place.matrix]
        return [list(run) for _, run in groupby(matrices, key=lambda place: place.shape)]

    def gather(self, gradients: Sequence[Tensor]) -> Tensor:
        """One buffer from tensors in the model's order."""
        flat = torch.empty(self.size, device=self.device)
        for dtype, run in groupby(self.places, key=lambda place: place.dtype):
            places, parts = list(run), list[Tensor]()
            for place in places:
                gap = self.gaps[dtype][: place.room - place.shape.numel()]
                parts += [gradients[place.order].reshape(-1), gap]
            section = flat[places[0].start : places[-1].start + places[-1].room]
            if dtype == flat.dtype:
                torch.cat(parts, out=section)
            else:
                section.copy_(torch.cat(parts))
        return flat

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Copy the masters into the model's parameters, in their own precision."""
        for copy in self.copies.values():
            copy.copy_(self.masters)

    def _both(self) -> Iterable[tuple[Place, nn.Parameter]]:
        return ((place, self.parameters[place.order]) for place in self.places)


def _arranged(places: Iterable[Place]) -> list[Place]:
    """Places one after another: matrices first, then by precision and shape."""
    arranged, start = list[Place](), 0
    for place in sorted(places, key=lambda p: (not p.matrix, str(p.dtype), tuple(p.shape), p.order)):
        arranged.append(Place(place.name, place.order, place.shape, place.dtype, place.matrix, start))
        start += place.room
    return arranged
