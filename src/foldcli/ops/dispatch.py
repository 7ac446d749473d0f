"""Choose between an operation's plain PyTorch body, its definition, and its Triton kernel in foldcli_kernels."""

import contextlib
import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch.overrides import handle_torch_function, has_torch_function_unary

from foldcli.cache_folder import cache_folder
from foldcli.errors import FoldcliError, InputError

P = ParamSpec("P")
R = TypeVar("R")

BACKENDS = ("auto", "reference", "triton")
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
# Shared memory of a block that the kernels' tiles may need; gaming and inference cards since Ampere have 99 KB.
SHARED_MEMORY = 163 * 1024
_log = logging.getLogger(__name__)
_chosen = os.environ.get("FOLDCLI_BACKEND") or "auto"
_decisions: dict[tuple[Any, ...], bool] = {}
_warned: set[str] = set()
_launches_are_noted = False


@contextlib.contextmanager
def backend(name: str) -> Iterator[None]:
    """Run operations as "reference" bodies, as "triton" kernels or as either ("auto") inside the block.

    InputError if there is no such backend. The choice holds for all threads of the process.
    """
    global _chosen
    before, _chosen = _chosen, _known(name)
    try:
        yield
    finally:
        _chosen = before


@contextlib.contextmanager
def kernels_without_gpu() -> Iterator[None]:
    """Call kernels with CPU or meta tensors inside the block, for what notes their launches and runs none."""
    global _launches_are_noted
    _decisions.clear()
    _launches_are_noted = True
    try:
        with backend("triton"):
            yield
    finally:
        _launches_are_noted = False
        _decisions.clear()


def chosen() -> str:
    """The backend in use: "auto", or what FOLDCLI_BACKEND or `backend` names."""
    return _chosen


def too_wide(channels: int, most: int) -> str:
    """Say that a kernel takes fewer channels, "" if it takes as many."""
    return f"{channels} channels, and its kernel takes at most {most}" if channels > most else ""


def kernel_cache() -> Path:
    """The folder of compiled kernels, from now on: with all else that foldcli keeps, unless the user names another."""
    return Path(os.environ.setdefault("TRITON_CACHE_DIR", str(cache_folder() / "kernels")))


class LazyKernel:
    """The kernel of an operation, named "module:function" and imported when first needed."""

    def __init__(self, operation: str, name: str) -> None:
        self.operation = operation
        self.module, self.attribute = name.split(":")
        self.function: Callable[..., Any] = self.missing

    def missing(self, *_: Any) -> Any:
        raise AssertionError(f"{self.module} was called before it was loaded")

    def load(self) -> None:
        kernel_cache()
        self.function = getattr(importlib.import_module(self.module), self.attribute)


def dispatched(name: str, unsupported: Callable[..., str] | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Give an operation a Triton kernel, named "module:function".

    unsupported: called with the operation's arguments, says why the kernel cannot take their shapes; "" if it can. The
    operation's first argument is the tensor whose device and dtype decide.
    """

    def decorate(body: Callable[P, R]) -> Callable[P, R]:
        kernel = LazyKernel(body.__name__, name)

        @wraps(body)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            first: Any = args[0] if args else next(iter(kwargs.values()))
            if has_torch_function_unary(first):  # intercepted, as by autochunk when it captures: show it one call
                return handle_torch_function(call, (first,), *args, **kwargs)
            if _chosen == "reference" or (_chosen == "auto" and not first.is_cuda):
                return body(*args, **kwargs)
            reason = unsupported(*args, **kwargs) if unsupported is not None else ""
            if _uses_kernel(kernel, _chosen, first.device, first.dtype, reason):
                return kernel.function(*args, **kwargs)
            return body(*args, **kwargs)

        return call

    return decorate


def _uses_kernel(kernel: LazyKernel, chosen: str, device: torch.device, dtype: torch.dtype, reason: str) -> bool:
    """Say whether the kernel runs, and load it then; FoldcliError if "triton" was asked for and it cannot."""
    key = (kernel, chosen, device, dtype, reason)
    if key not in _decisions:
        forced = _known(chosen) == "triton"
        obstacle = reason or obstacle_on(device, dtype, forced) or _missing(kernel.module)
        if obstacle and forced:
            raise FoldcliError(f"backend triton: {kernel.operation} cannot run: {obstacle}; use FOLDCLI_BACKEND=auto")
        if obstacle and kernel.operation not in _warned:
            _warned.add(kernel.operation)
            _log.warning("%s runs as plain PyTorch: %s", kernel.operation, obstacle)
        if not obstacle:
            kernel.load()
        _decisions[key] = not obstacle
    return _decisions[key]


# torch.compile calls it while tracing and keeps the result, as torch.compiler.assume_constant_result would have it;
# that function is not used since it imports all of torch._dynamo, seconds that a fold on the CPU need not wait.
_uses_kernel._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _known(name: str) -> str:
    if name not in BACKENDS:
        raise InputError(f"no backend '{name}' (FOLDCLI_BACKEND); there are {', '.join(BACKENDS)}")
    return name


def obstacle_on(device: torch.device, dtype: torch.dtype, forced: bool) -> str:
    """Say why kernels cannot run on tensors of this device and dtype, "" if they can."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if dtype not in DTYPES:
        return f"{_name(dtype)} tensors, and kernels take {', '.join(map(_name, DTYPES))}"
    if forced and ((device.type == "cpu" and interpreted) or _launches_are_noted):
        return ""
    if device.type != "cuda":
        return f"tensors on {device.type}, and kernels need cuda (or TRITON_INTERPRET=1 on the cpu)"
    if interpreted and not forced:
        return "TRITON_INTERPRET=1 is set, and interpreted kernels are slow"
    return _lacking(device, forced)


def _lacking(device: torch.device, forced: bool) -> str:
    if torch.version.hip:
        return "an AMD device, and kernels are made for NVIDIA's"
    if not torch.cuda.is_available():  # a fake tensor can say cuda on any machine
        return "no CUDA device in this machine"
    properties = torch.cuda.get_device_properties(device)
    if (properties.major, properties.minor) < (8, 0):
        return f"{properties.name} has compute capability {properties.major}.{properties.minor}, and kernels need 8.0"
    shared = getattr(properties, "shared_memory_per_block_optin", SHARED_MEMORY)
    if shared < SHARED_MEMORY and not forced:
        return f"{properties.name} has {shared // 1024} KB of shared memory a block, and kernels may need 163"
    return ""


def _missing(module: str) -> str:
    """Say which module is not installed, "" if none is missing."""
    absent = (name for name in ("triton", module.split(".")[0], module) if importlib.util.find_spec(name) is None)
    return next((f"{name} is not installed" for name in absent), "")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
