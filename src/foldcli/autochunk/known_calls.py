"""What calls on fake tensors give and take, found once for all calls that do the same.

Equal layers make the same calls, and so do the passes that go through one graph in turn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk.footprint import Footprint, measure_footprint
from foldcli.autochunk.graph import mapped, tensors
from foldcli.ops.dispatch import chosen

Function = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


@dataclass(frozen=True)
class _Layout:
    """A result's; source: the one of the call's tensors that it is a view of, None if it has memory of its own."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    device: torch.device
    source: int | None

    def tensor(self, given: Sequence[Tensor]) -> Tensor:
        """A new fake tensor of this layout."""
        if self.source is not None:
            return given[self.source].as_strided(self.shape, self.stride, self.offset)
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)


@dataclass(frozen=True)
class _Known:
    """A call's results, None if they cannot be made without it, and its footprint."""

    results: list[_Layout] | None
    footprint: Footprint


_known: WeakKeyDictionary[FakeTensorMode, dict[Any, _Known]] = WeakKeyDictionary()


def run_call(mode: FakeTensorMode, function: Function, args: Args, kwargs: Kwargs) -> tuple[list[Tensor], Footprint]:
    """The results of a call that writes into none of its tensors, fake ones of an entered mode, and its footprint."""
    known, given, key = _known.setdefault(mode, {}), tensors((args, kwargs)), _key(function, args, kwargs)
    before = known.get(key)
    if before is not None and before.results is not None:
        return [result.tensor(given) for result in before.results], before.footprint
    found, footprint = measure_footprint(lambda: tensors(function(*args, **kwargs)), given)
    known[key] = _Known(_layouts(found, given), footprint)
    return found, footprint


def footprint_of(mode: FakeTensorMode, function: Function, args: Args, kwargs: Kwargs) -> Footprint:
    """The footprint of such a call."""
    before = _known.setdefault(mode, {}).get(_key(function, args, kwargs))
    return before.footprint if before else run_call(mode, function, args, kwargs)[1]


def _layouts(found: Sequence[Tensor], given: Sequence[Tensor]) -> list[_Layout] | None:
    """The results' layouts; None if one has more memory than its elements take, or shares it with another result."""
    sources = {x.untyped_storage()._cdata: place for place, x in enumerate(given)}
    layouts = [
        _Layout(tuple(x.shape), x.stride(), int(x.storage_offset()), x.dtype, x.device,
                sources.get(x.untyped_storage()._cdata))
        for x in found
    ]  # fmt: skip
    own = [(x, layout) for x, layout in zip(found, layouts, strict=True) if layout.source is None]
    whole = all(layout.tensor(()).untyped_storage().nbytes() == x.untyped_storage().nbytes() for x, layout in own)
    return layouts if whole and len({x.untyped_storage()._cdata for x, _ in own}) == len(own) else None


def _key(function: Function, args: Args, kwargs: Kwargs) -> Any:
    """The same for calls that do the same: function, layouts of tensors and which share memory, constants."""
    storages: dict[int, int] = {}

    def described(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        storage = storages.setdefault(leaf.untyped_storage()._cdata, len(storages))
        return tuple(leaf.shape), leaf.stride(), leaf.storage_offset(), leaf.dtype, leaf.device, storage

    return function, repr(mapped(described, (args, kwargs))), chosen(), torch.get_num_threads()
