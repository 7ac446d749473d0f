"""Count what tensors take while work runs: on tensors without memory for a prediction, on real ones to look."""

import math
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from foldcli.autochunk.graph import tensors
from foldcli.ops import onednn

aten = torch.ops.aten


class MemoryTracker(TorchDispatchMode):
    """Bytes that are alive now and at most, among storages made within it; what the time depends on beside.

    What operators take inside themselves, unseen by a dispatch mode, comes from `inside`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self.flops = self.logits = self.products = self.traffic = self.calls = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        hidden = workspace_bytes(function, args)
        self.peak = max(self.peak, self.live + hidden)
        result = function(*args, **(kwargs or {}))
        made = tensors(result)
        new = [self._enter(tensor) for tensor in made]
        self.peak = max(self.peak, self.live + hidden)
        if any(new) or function._schema.is_mutable:
            self._count(function, args, kwargs or {}, result)
        return result

    def _count(self, function: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        flops = _flops(function, args, kwargs, result)
        used = [*tensors(args), *tensors(result)]
        self.calls += 1
        self.flops += flops
        self.logits += _logits(function, args)
        self.products += sum(tensor.nbytes for tensor in used) if flops else 0
        self.traffic += sum(map(traffic_bytes, used))

    def _enter(self, tensor: Tensor) -> bool:
        storage = tensor.untyped_storage()
        key = storage._cdata
        known = self._known.get(key)
        if known is not None and known() is not None:
            return False
        size = storage.nbytes()
        self._known[key] = weakref.ref(storage)
        weakref.finalize(storage, self._leave, key, size)
        self.live += size
        return True

    def _leave(self, key: int, size: int) -> None:
        self.live -= size
        self._known.pop(key, None)

    def own(self, given: Iterable[Tensor]) -> None:
        """Storages that were there before: whatever they are, they are no allocation."""
        for tensor in given:
            storage = tensor.untyped_storage()
            self._known[storage._cdata] = weakref.ref(storage)


def traffic_bytes(tensor: Tensor) -> int:
    """What is read or written of a tensor, counted once where it repeats itself."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return math.prod(sizes) * tensor.element_size()


def _copy_unless_dense(x: Tensor) -> int:
    return 0 if x.is_contiguous() else x.numel() * x.element_size()


def _copies_of_products(a: Tensor, b: Tensor) -> int:
    """Matrices that the library cannot read in place: for MKL those of which none of the last two axes is adjacent."""
    workspace = onednn.workspace_bytes(a, b) if onednn.mkl_lacks_avx512() else None
    if workspace is not None:
        return workspace
    return sum(
        x.numel() * x.element_size() for x in (a, b) if x.shape[-1] * x.shape[-2] > 1
        and 1 not in x.stride()[-2:]
    )  # fmt: skip


def _attention_on_cpu(q: Tensor, k: Tensor, *_: object) -> int:
    """Tiles of logits and sums, for each thread."""
    rows = 256 if q.shape[-2] >= 768 else 64 if q.shape[-2] >= 192 else 32
    return torch.get_num_threads() * min(rows, q.shape[-2]) * (min(512, k.shape[-2]) + 2 + q.shape[-1]) * 4


def _logits(function: Any, args: tuple[Any, ...]) -> int:
    attends = function is aten._scaled_dot_product_flash_attention_for_cpu.default
    return args[0].shape[:-1].numel() * args[1].shape[-2] if attends else 0


def _flops(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    if logits := _logits(function, args):  # not in torch's own table
        return 4 * logits * int(args[0].shape[-1])
    count = flop_registry.get(function.overloadpacket)
    return count(*args, **kwargs, out_val=result) if count else 0


# What the CPU's operators allocate for themselves and give back, by operator.
WORKSPACE: dict[Any, Callable[..., int]] = {
    aten.native_layer_norm.default: lambda x, *_: _copy_unless_dense(x),
    aten._softmax.default: lambda x, *_: _copy_unless_dense(x),
    aten.bmm.default: _copies_of_products,
    aten.mm.default: _copies_of_products,
    aten.addmm.default: lambda bias, a, b, *_: _copies_of_products(a, b),
    aten._scaled_dot_product_flash_attention_for_cpu.default: _attention_on_cpu,
    aten.convolution.default: lambda x, *_: x.numel() * x.element_size(),
    aten._cdist_forward.default: lambda a, b, *_: _copy_unless_dense(a) + _copy_unless_dense(b),
}


def workspace_bytes(function: Any, args: tuple[Any, ...]) -> int:
    """Bytes that an operator takes within itself."""
    found = WORKSPACE.get(function)
    return found(*args) if found else 0


@dataclass(frozen=True)
class Footprint:
    """What some work takes: bytes at most above what was there, bytes that stay, and what the time depends on.

    flops: of products; logits: of fused attention; traffic: bytes that are read and written; products: the same of
    products, of which each in a batch reads what all of them share.
    """

    peak: int = 0
    kept: int = 0
    flops: int = 0
    logits: int = 0
    products: int = 0
    traffic: int = 0
    calls: int = 0


def measure_footprint(work: Callable[[], Any], given: Iterable[Tensor]) -> tuple[Any, Footprint]:
    """The result of `work` and what it took; `given` are the tensors that it works on."""
    tracker = MemoryTracker()
    tracker.own(given)
    with tracker:
        result = work()
    return result, Footprint(
        tracker.peak, tracker.live, tracker.flops, tracker.logits, tracker.products, tracker.traffic, tracker.calls
    )
