"""What work asks of a GPU, counted on meta tensors without one: launches, and waits of the host for the device."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch._library.custom_ops import OPDEFS
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from foldcli.ops.kernel_launches import counted_launches

# Operators that only describe memory.
FREE = {
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "detach",
    "_unsafe_view",
    "lift_fresh",
}
# Operators of torch that launch several kernels on CUDA: to fill zeros first, to sum in two steps, or to sort.
SEVERAL = {
    "select_backward": 2, "slice_backward": 2, "scatter_add": 2, "scatter": 2, "index_add": 2, "masked_fill": 2,
    "constant_pad_nd": 2, "native_layer_norm_backward": 3, "embedding_dense_backward": 8, "nonzero": 4, "sort": 4,
}  # fmt: skip
ACCUMULATING = {"index_put", "index_put_", "_index_put_impl_"}
# Operators whose result, or the shape of it, the host needs.
WAITING = {"_local_scalar_dense", "nonzero", "equal", "masked_select", "unique", "_unique2", "repeat_interleave"}
BETWEEN = "copy between devices"
# Tensors that one launch concatenates (torch's Shape.cu).
CONCATENATED = 128
# Tensors of each list that one launch of a `_foreach_` operator takes (torch's MultiTensorApply.cuh), by lists.
TENSORS_AT_ONCE = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}


class LaunchCounter(TorchDispatchMode):
    """Counts launches by phase and operator, and names what makes the host wait; counts are estimates from below."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.phase = "everything else"
        self.launches: Counter[tuple[str, str]] = Counter()
        self.waits: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def counting(self) -> Iterator["LaunchCounter"]:
        """Count what runs on meta tensors inside the block, with every kernel."""
        with counted_launches(self._kernel), self, _ListsOnDevice(self):
            yield self

    def by_phase(self) -> dict[str, int]:
        """Launches of each phase."""
        found: Counter[str] = Counter()
        for (phase, _), count in self.launches.items():
            found[phase] += count
        return dict(found)

    def _kernel(self, name: str) -> None:
        self.launches[self.phase, name] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:  # what an operator does, not what tells its shapes, and what others consist of
            if func.namespace == "foldcli":
                return OPDEFS[func._schema.name]._init_fn(*args, **kwargs)
            found = func.decompose(*args, **kwargs)
        if found is not NotImplemented:
            return found
        if waits := _waits(func._opname, args, kwargs):
            self.waits[self.phase, waits] += 1
        launches = _launches(func, args) if _on_meta(args) or _is_meta(kwargs.get("device")) else 0
        if launches:
            self.launches[self.phase, func._opname] += launches
        return _result(func, args, kwargs)


class _ListsOnDevice(TorchFunctionMode):
    """Tell a counter of numbers of the host that become tensors on the device: for meta tensors they are not copied."""

    def __init__(self, counter: LaunchCounter) -> None:
        super().__init__()
        self.counter = counter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        made = (
            name in ("tensor", "as_tensor", "new_tensor") and _on_meta([found]) and not isinstance(args[-1], np.ndarray)
        )
        index = args[1] if name in ("__getitem__", "__setitem__") and _on_meta(args[:1]) else ()
        if made or any(isinstance(x, (list, np.ndarray)) for x in (index if isinstance(index, tuple) else (index,))):
            self.counter.waits[self.counter.phase, BETWEEN] += 1
        return found


def _launches(func: Any, args: Any) -> int:
    name = func._opname
    views = any(result.alias_info and not result.alias_info.is_write for result in func._schema.returns)
    if views or name in FREE:
        return 0
    if name.startswith(("_foreach_", "_fused_")):
        lists = [arg for arg in args if isinstance(arg, (list, tuple)) and arg and isinstance(arg[0], torch.Tensor)]
        return -(-len(lists[0]) // TENSORS_AT_ONCE[min(len(lists), 5)])
    if name in ("cat", "stack"):
        return -(-len(args[0]) // CONCATENATED)
    if name in ACCUMULATING and len(args) > 3 and args[3]:
        return 8  # sorts the indices
    return SEVERAL.get(name, 1)


def _waits(name: str, args: Any, kwargs: Any) -> str:
    """Why the host waits for the device in this operator, or ""."""
    if name in WAITING and _on_meta(args):
        return name
    if name == "_to_copy" and "device" in kwargs and not kwargs.get("non_blocking"):
        return BETWEEN if args[0].is_meta != _is_meta(kwargs["device"]) else ""
    return BETWEEN if name == "copy_" and args[0].is_meta != args[1].is_meta else ""


def _on_meta(values: Any) -> bool:
    """Whether a tensor among the values, or in their lists, is on the device that stands for a GPU."""
    return any(
        value.is_meta if isinstance(value, torch.Tensor) else isinstance(value, (list, tuple)) and _on_meta(value)
        for value in values
    )


def _is_meta(device: torch.device | str | None) -> bool:
    return device is not None and torch.device(device).type == "meta"


def _result(func: Any, args: Any, kwargs: Any) -> Any:
    """The operator's result; where that depends on numbers, which meta tensors lack, one of some shape."""
    if func._opname == "_local_scalar_dense" and args[0].is_meta:
        return 1.0
    if func._opname == "nonzero" and args[0].is_meta:
        return args[0].new_empty((args[0].numel(), args[0].dim()), dtype=torch.int64)
    return None if func._opname.startswith("_fused_") else func(*args, **kwargs)
