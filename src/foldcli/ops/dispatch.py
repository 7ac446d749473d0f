"""Choose between an operation's body, which is its definition, and its Triton twin in foldcli_kernels."""

import contextlib
import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch.overrides import handle_torch_function, has_torch_function_unary

from foldcli.errors import FoldcliError, InputError

P = ParamSpec("P")
R = TypeVar("R")

BACKENDS = ("auto", "reference", "triton")
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
# What the kernels' tiles may take of a block's shared memory; gaming and inference cards since Ampere have 99 KB.
SHARED_MEMORY = 163 * 1024
_log = logging.getLogger(__name__)
_chosen = os.environ.get("FOLDCLI_BACKEND") or "auto"
_runs: dict[tuple[Any, ...], bool] = {}
_declined: set[str] = set()


@contextlib.contextmanager
def backend(name: str) -> Iterator[None]:
    """Run operations on "reference" bodies, "triton" kernels or what suits ("auto") inside the block.

    InputError if there is no such backend. The choice holds for the whole process, threads included.
    """
    global _chosen
    before, _chosen = _chosen, _known(name)
    try:
        yield
    finally:
        _chosen = before


def chosen() -> str:
    """The backend in use: "auto", or what FOLDCLI_BACKEND or `backend` names."""
    return _chosen


def too_wide(channels: int, most: int) -> str:
    """Say that a kernel takes fewer channels, "" if it takes as many."""
    return f"{channels} channels, and its kernel takes at most {most}" if channels > most else ""


class Twin:
    """The kernel of an operation, named "module:function" and imported when first needed."""

    def __init__(self, operation: str, name: str) -> None:
        self.operation = operation
        self.module, self.attribute = name.split(":")
        self.function: Callable[..., Any] = self.missing

    def missing(self, *_: Any) -> Any:
        raise AssertionError(f"{self.module} was called before it was loaded")

    def load(self) -> None:
        self.function = getattr(importlib.import_module(self.module), self.attribute)


def dispatched(name: str, unfit: Callable[..., str] | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Give an operation a Triton twin, named "module:function".

    unfit: called with the operation's arguments, says why their shapes do not suit the twin; "" if they do. The
    operation's first argument is the tensor whose device and dtype decide.
    """

    def decorate(body: Callable[P, R]) -> Callable[P, R]:
        twin = Twin(body.__name__, name)

        @wraps(body)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            first: Any = args[0] if args else next(iter(kwargs.values()))
            if has_torch_function_unary(first):  # somebody watches, such as autochunk's capture: be one call to them
                return handle_torch_function(call, (first,), *args, **kwargs)
            if _chosen == "reference" or (_chosen == "auto" and not first.is_cuda):
                return body(*args, **kwargs)
            reason = unfit(*args, **kwargs) if unfit is not None else ""
            if _takes(twin, _chosen, first.device, first.dtype, reason):
                return twin.function(*args, **kwargs)
            return body(*args, **kwargs)

        return call

    return decorate


def _takes(twin: Twin, chosen: str, device: torch.device, dtype: torch.dtype, reason: str) -> bool:
    """Say whether the twin runs, and load it then; FoldcliError if it was asked for by name and cannot."""
    key = (twin, chosen, device, dtype, reason)
    if key not in _runs:
        forced = _known(chosen) == "triton"
        obstacle = reason or obstacle_on(device, dtype, forced) or _missing(twin.module)
        if obstacle and forced:
            raise FoldcliError(f"backend triton: {twin.operation} cannot run: {obstacle}; use FOLDCLI_BACKEND=auto")
        if obstacle and twin.operation not in _declined:
            _declined.add(twin.operation)
            _log.warning("%s runs as plain PyTorch: %s", twin.operation, obstacle)
        if not obstacle:
            twin.load()
        _runs[key] = not obstacle
    return _runs[key]


# torch.compile calls it while tracing and keeps the result, as torch.compiler.assume_constant_result would have it;
# that function is not used since it imports all of torch._dynamo, seconds that a fold on the CPU need not wait.
_takes._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _known(name: str) -> str:
    if name not in BACKENDS:
        raise InputError(f"no backend '{name}' (FOLDCLI_BACKEND); there are {', '.join(BACKENDS)}")
    return name


def obstacle_on(device: torch.device, dtype: torch.dtype, forced: bool) -> str:
    """Say why kernels cannot run on tensors of this device and dtype, "" if they can."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if dtype not in DTYPES:
        return f"{_name(dtype)} tensors, and kernels take {', '.join(map(_name, DTYPES))}"
    if device.type == "cpu" and interpreted and forced:
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
