"""What calls on fake tensors give and take, found once for all calls that do the same.

Equal layers make the same calls, and so do capture and the passes that go through one graph after it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk.footprint import Footprint, measure_footprint
from foldcli.autochunk.graph import Ref, leaves, mapped, tensors
from foldcli.autochunk.host_memory import fetch, park
from foldcli.autochunk.tensor_spec import TensorSpec, memory_of, spec_of
from foldcli.ops.dispatch import chosen

Function = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """A result's layout; source: the one of the call's tensors that it is a view of, None if it has its own memory."""

    layout: TensorSpec
    source: int | None

    def spec(self, value: int, given: Sequence[TensorSpec]) -> TensorSpec:
        """The metadata of this result of another call that does the same, as a value; given: that call's tensors."""
        own, layout = self.layout, (self.layout.shape, self.layout.stride, self.layout.dtype, self.layout.device)
        if self.source is None:
            return TensorSpec(*layout, value, own.storage_bytes, own.offset)
        return TensorSpec(*layout, given[self.source].storage, given[self.source].storage_bytes, own.offset)


@dataclass(frozen=True)
class Known:
    """A call's results, None if they cannot be made without it, and its footprint."""

    results: list[Result] | None
    footprint: Footprint


_known: WeakKeyDictionary[FakeTensorMode, dict[Any, Known]] = WeakKeyDictionary()


def known_calls(mode: FakeTensorMode) -> dict[Any, Known]:
    """What is known of calls on the fake tensors of a mode, by `call_key`."""
    return _known.setdefault(mode, {})


def call_key(function: Function, args: Args, kwargs: Kwargs, given: Sequence[TensorSpec]) -> Any:
    """The same for calls that do the same: function, layouts of tensors and which share memory, constants.

    given: of the tensors among the arguments, in whose places are `Ref`s or, for constants, the tensors themselves.
    """
    queue, storages = iter(given), dict[int, int]()

    def described(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return leaf.shape, leaf.dtype  # the text of a large one leaves out most of it
        if not isinstance(leaf, Ref | Tensor):
            return leaf
        x = next(queue)
        return x.shape, x.stride, x.offset, x.dtype, x.device, storages.setdefault(x.storage, len(storages))

    return function, repr(mapped(described, (args, kwargs))), chosen(), torch.get_num_threads()


def given_specs(args: Args, kwargs: Kwargs, spec: Callable[[int], TensorSpec]) -> list[TensorSpec]:
    """The metadata of a call's tensors: of its operands, by `spec`, and of tensors that are constants."""
    found = (leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, Ref | Tensor))
    return [spec(leaf.value) if isinstance(leaf, Ref) else spec_of(leaf, memory_of(leaf)) for leaf in found]


def run_call(function: Function, args: Args, kwargs: Kwargs) -> tuple[Any, Known]:
    """What a call returns on fake tensors, inside their mode, and what is then known of calls that do the same.

    Only of a call that writes into none of its tensors is that true of others.
    """
    given = tensors((args, kwargs))
    result, footprint = measure_footprint(lambda: function(*args, **kwargs), given)
    if function is park:  # what it makes is in host memory, and other work goes on meanwhile
        footprint = Footprint(calls=footprint.calls)
    elif function is fetch:
        footprint = replace(footprint, fetched=footprint.kept, traffic=0)
    return result, Known(_results(tensors(result), given), footprint)


def footprint_of(
    mode: FakeTensorMode, function: Function, args: Args, kwargs: Kwargs, given: Sequence[TensorSpec]
) -> Footprint:
    """The footprint of a call that writes into none of its tensors; given: their metadata, in the order of its `Ref`s.

    The call is made, if none that does the same has been.
    """
    queue = iter(given)
    specs = given_specs(args, kwargs, lambda _: next(queue))
    key, known = call_key(function, args, kwargs, specs), known_calls(mode)
    if key not in known:
        made: dict[int, Tensor] = {}
        queue = iter(given)

        def fake(leaf: Any) -> Any:
            if not isinstance(leaf, Ref):
                return leaf
            x = next(queue)
            return made.setdefault(x.storage, x.empty())

        with mode, torch.inference_mode(False), torch.no_grad():
            known[key] = run_call(function, *mapped(fake, (args, kwargs)))[1]
    return known[key].footprint


def _results(found: Sequence[Tensor], given: Sequence[Tensor]) -> list[Result] | None:
    """The results' layouts; None if one has more memory than its elements take, or shares it with another result."""
    sources = {memory_of(x): place for place, x in enumerate(given)}
    results = [Result(spec_of(x, -1), sources.get(memory_of(x))) for x in found]
    own = [x for x, result in zip(found, results, strict=True) if result.source is None]
    whole = all(spec_of(x, -1).storage_bytes == _reach(x) for x in own)
    return results if whole and len(set(map(memory_of, own))) == len(own) else None


def _reach(x: Tensor) -> int:
    """Bytes of memory that just holds a tensor of this layout."""
    last = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    return (last + 1) * x.itemsize if x.numel() else 0
