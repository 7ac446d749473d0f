"""Footprint of some work: its peak memory, and the arithmetic and traffic that its time is estimated from.

On fake tensors this is a prediction, on real ones a measurement.
"""

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
from foldcli.ops import onednn, parts

aten = torch.ops.aten


class MemoryTracker(TorchDispatchMode):
    """Counts what operators inside it allocate: live and peak bytes, and the terms of `Footprint` for time.

    Temporaries inside an operator, which a dispatch mode does not see, are added from `workspace_bytes`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self.flops = self.logits = self.products = self.traffic = self.calls = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        workspace = workspace_bytes(function, args)
        self.peak = max(self.peak, self.live + workspace)
        result = function(*args, **(kwargs or {}))
        made = tensors(result)
        new = [self._allocated(tensor) for tensor in made]
        self.peak = max(self.peak, self.live + workspace)
        if any(new) or function._schema.is_mutable:
            self._count(function, args, kwargs or {}, result)
        return result

    def _count(self, function: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        flops, times = _flops(function, args, kwargs, result), parts.times()
        used = [*tensors(args), *tensors(result)]
        self.calls += times
        self.flops += times * flops
        self.logits += times * _logits(function, args)
        self.products += times * sum(tensor.nbytes for tensor in used) if flops else 0
        self.traffic += times * sum(map(traffic_bytes, used))

    def _allocated(self, tensor: Tensor) -> bool:
        storage = tensor.untyped_storage()
        key = storage._cdata
        known = self._known.get(key)
        if known is not None and known() is not None:
            return False
        size = storage.nbytes()
        self._known[key] = weakref.ref(storage)
        weakref.finalize(storage, self._freed, key, size)
        self.live += size
        return True

    def _freed(self, key: int, size: int) -> None:
        self.live -= size
        self._known.pop(key, None)

    def ignore(self, given: Iterable[Tensor]) -> None:
        """Do not count the storages of these tensors, which were there before."""
        for tensor in given:
            storage = tensor.untyped_storage()
            self._known[storage._cdata] = weakref.ref(storage)


def traffic_bytes(tensor: Tensor) -> int:
    """Bytes read or written for a tensor; entries expanded by stride 0 count once."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return math.prod(sizes) * tensor.element_size()


def _copy_unless_dense(x: Tensor) -> int:
    return 0 if x.is_contiguous() else x.numel() * x.element_size()


def _copies_of_products(a: Tensor, b: Tensor) -> int:
    """Bytes of operands that the library copies first: for MKL those without stride 1 in the last two dimensions."""
    workspace = onednn.workspace_bytes(a, b) if onednn.mkl_lacks_avx512() else None
    if workspace is not None:
        return workspace
    return sum(
        x.numel() * x.element_size() for x in (a, b) if x.shape[-1] * x.shape[-2] > 1
        and 1 not in x.stride()[-2:]
    )  # fmt: skip


def _attention_on_cpu(q: Tensor, k: Tensor, *_: object) -> int:
    """Each thread's tile of logits and its accumulators, as in torch's flash attention for CPUs."""
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


# Temporary bytes that the CPU's operators allocate and free.
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
    """Bytes of an operator's temporaries, 0 if it has none that we know."""
    found = WORKSPACE.get(function)
    return found(*args) if found else 0


@dataclass(frozen=True)
class Footprint:
    """Memory of some work, in bytes, and what its time is estimated from.

    peak: most that is allocated at once; kept: still allocated at the end; flops: of matrix products; logits: of fused
    attention; products: bytes of the operands and results of matrix products, where an operand that a batch shares is
    counted for each member; traffic: bytes read and written, shared ones once; calls: operators that allocate or write;
    fetched: bytes that come from host memory.
    """

    peak: int = 0
    kept: int = 0
    flops: int = 0
    logits: int = 0
    products: int = 0
    traffic: int = 0
    calls: int = 0
    fetched: int = 0


def measure_footprint(work: Callable[[], Any], given: Iterable[Tensor]) -> tuple[Any, Footprint]:
    """The result of `work` and its footprint; given: tensors that it works on, which do not count."""
    tracker = MemoryTracker()
    tracker.ignore(given)
    with tracker:
        result = work()
    return result, Footprint(
        tracker.peak, tracker.live, tracker.flops, tracker.logits, tracker.products, tracker.traffic, tracker.calls
    )
