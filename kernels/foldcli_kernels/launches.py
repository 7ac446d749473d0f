"""What is really launched, noted on CPU tensors with no GPU at hand, to be compiled ahead of time as it is.

Triton compiles a kernel anew for integers that are 1 or multiples of 16, for tensors that begin at multiples of 16
bytes or not, for tensors of other types and for None: tables written by hand (aot.py) cannot have all that occurs.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime import interpreter, jit

from foldcli_kernels.aot import AotConfig

# Which target is asked matters not: all of NVIDIA's tell arguments apart in the same way.
Launch = tuple[Any, tuple[Any, ...], dict[str, Any]]  # the kernel, its arguments, and those given by name
_BACKEND = make_backend(GPUTarget("cuda", 90, 32))


@contextlib.contextmanager
def recorded(keep: Callable[[Launch], None] | None = None) -> Iterator[list[AotConfig]]:
    """Note each distinct launch inside the block instead of running it: results stay as uninitialised as they were.

    keep: is given each of them as it was made. RuntimeError where Triton interprets kernels (TRITON_INTERPRET=1), which
    knows no specialisation.
    """
    if triton.knobs.runtime.interpret:
        raise RuntimeError("launches cannot be noted where Triton interprets kernels: unset TRITON_INTERPRET")
    found: list[AotConfig] = []
    known: set[str] = set()
    binders: dict[Any, Any] = {}

    def note(function: Any, *arguments: Any, grid: Any, warmup: bool, **named: Any) -> None:
        if function not in binders:
            binders[function] = jit.create_function_from_signature(function.signature, function.params, _BACKEND)
        values, kinds, options = binders[function](*arguments, **named)
        config = _config(function, values, kinds, options)
        if repr(config) not in known:
            known.add(repr(config))
            found.append(config)
            if keep:
                keep((function, arguments, named))

    before = jit.JITFunction.run
    jit.JITFunction.run = note
    try:
        yield found
    finally:
        jit.JITFunction.run = before


@contextlib.contextmanager
def counted(count: Callable[[str], None]) -> Iterator[None]:
    """Name each launch inside the block, by its kernel, instead of running it; where Triton interprets kernels too."""

    def note(function: Any, *_: Any, **__: Any) -> None:
        count(function.__name__)

    kinds = jit.JITFunction, interpreter.InterpretedFunction
    before = [kind.run for kind in kinds]
    for kind in kinds:
        kind.run = note
    try:
        yield
    finally:
        for kind, run in zip(kinds, before, strict=True):
            kind.run = run


def _config(function: Any, values: dict[str, Any], kinds: Iterable[tuple[str, Any]], options: Any) -> AotConfig:
    """Describe a launch; kinds: a type for each argument, and what Triton makes of its value ("D": a multiple of 16).

    The type of what becomes a constant of the compiled code is "constexpr": of integers 1 and of None too.
    """
    signature, constants, divisible = {}, {}, []
    for (name, value), (kind, special) in zip(values.items(), kinds, strict=True):
        if kind == "constexpr":
            constants[name] = value
        else:
            signature[name] = kind
            divisible += [name] if special == "D" else []
    return AotConfig(
        _name(function, signature, constants, divisible), function, signature, constants, options["num_warps"],
        options["num_stages"], divisible=tuple(divisible), launched=True,
    )  # fmt: skip


def _name(function: Any, signature: dict[str, str], constants: dict[str, Any], divisible: list[str]) -> str:
    """Name the kernel, the type of its first tensor, and the arguments whose values make this launch what it is."""
    declared = {param.name for param in function.params if param.is_constexpr}
    free = {param.name for param in function.params if param.do_not_specialize}
    one = [name for name in constants if name not in declared]
    odd = [name for name, kind in signature.items() if name not in (*divisible, *free) and kind[:2] != "fp"]
    tile = [str(value) for name, value in constants.items() if name in declared]
    dtype = next(kind[1:] for kind in signature.values() if kind[0] == "*")
    return " ".join([function.__name__, "launched", dtype, "x".join(tile), "1:", *one, "odd:", *odd])


def shipped_as(launch: AotConfig, configs: Iterable[AotConfig]) -> AotConfig | None:
    """Return the configuration of a table that has the kernel, types and constants of a launch, if there is one."""
    return next((config for config in configs if _declared(config) == _declared(launch)), None)


def _declared(config: AotConfig) -> tuple[Any, ...]:
    params = [param.name for param in config.function.params if param.is_constexpr]
    constants = tuple(config.constexprs.get(name) for name in params)
    dtype = next(kind for kind in config.signature.values() if kind[0] == "*")
    return config.function.__name__, dtype, constants, config.num_warps, config.num_stages
