"""Hold a kernel to three times the error of its plain body; and break kernels, to see that the check fails then."""

import inspect
import linecache
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import triton.language as tl
from torch import Tensor
from triton.runtime import interpreter

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# One rounding in float32, relative to the root mean square: in the body, a sum of few terms can be exact.
FLOOR = 2e-7
Function = Callable[..., Tensor | list[Tensor]]


@pytest.fixture(autouse=True)
def bfloat16_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the interpreter round to bfloat16 instead of truncating, and multiply its values instead of its bits."""
    convert, product = interpreter._convert_float, interpreter.InterpreterBuilder.create_dot

    def rounded(data: Any, source: Any, target: Any, mode: Any) -> Any:
        if (source, target) != (tl.float32, tl.bfloat16):
            return convert(data, source, target, mode)
        return torch.from_numpy(np.ascontiguousarray(data)).bfloat16().view(torch.int16).numpy().reshape(data.shape)

    def widened(operand: Any) -> Any:
        if operand.dtype.scalar != tl.bfloat16:
            return operand
        return interpreter.TensorHandle(
            convert(operand.data, tl.bfloat16, tl.float32, None).view(np.float32), tl.float32
        )

    def multiplied(self: Any, left: Any, right: Any, *rest: Any) -> Any:
        return product(self, widened(left), widened(right), *rest)

    monkeypatch.setattr(interpreter, "_convert_float", rounded)
    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", multiplied)


def outcome(function: Function, inputs: Sequence[Tensor], seed: int = 1) -> dict[str, Tensor]:
    """Return a function's results and its inputs' gradients, for fixed gradients of the results; strides are kept."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    results = function(*leaves)
    results = [results] if isinstance(results, Tensor) else results
    # Drawn in float32 in the order of the shape, then rounded: the same numbers for any precision and strides.
    generator = torch.Generator().manual_seed(seed)
    grads = [torch.randn(y.shape, generator=generator).bfloat16().to(y.dtype) for y in results]
    torch.autograd.backward(results, grads)
    named = {f"result {i}": y.detach() for i, y in enumerate(results)}
    return named | {f"gradient of input {i}": x.grad for i, x in enumerate(leaves) if x.grad is not None}


def excess(kernel: Function, body: Function, inputs: Sequence[Tensor]) -> dict[str, float]:
    """Return the root mean square error of each result and gradient against float64, over what is allowed."""
    exact = outcome(body, [x.double() for x in inputs])
    plain, found = outcome(body, inputs), outcome(kernel, inputs)
    assert found.keys() == exact.keys()
    ratios = {}
    for name, truth in exact.items():
        assert found[name].shape == truth.shape
        assert found[name].dtype == plain[name].dtype
        allowed = 3 * _rms(plain[name] - truth) + FLOOR * _rms(truth)
        error = _rms(found[name] - truth)
        ratios[name] = 0.0 if error == 0 else error / allowed
    return ratios


def _rms(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item() if x.numel() else 0.0


def assert_agrees(kernel: Function, body: Function, inputs: Sequence[Tensor]) -> None:
    """Fail where any result or gradient is off by more than three times the body's error in the same precision."""
    ratios = excess(kernel, body, inputs)
    assert all(ratio <= 1 for ratio in ratios.values()), ratios


def rejected(kernel: Function, body: Function, inputs: Sequence[Tensor]) -> set[str]:
    """Return the names of the results and gradients that `assert_agrees` would find wrong."""
    return {name for name, ratio in excess(kernel, body, inputs).items() if not ratio <= 1}


def _poisoned(allocate: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def filled(*sizes: object, **options: object) -> torch.Tensor:
        fresh = allocate(*sizes, **options)
        return fresh.fill_(float("nan")) if fresh.is_floating_point() else fresh

    return filled


def break_kernel(monkeypatch: pytest.MonkeyPatch, module: ModuleType, kernel: str, old: str, new: str) -> None:
    """Exchange a piece of the source of a module's jit function, wherever foldcli_kernels imports the function.

    Memory that it leaves unwritten then holds NaN: it might hold the right answer, left there by the sound kernel.
    """
    for allocate in ("empty", "empty_like", "empty_strided"):
        monkeypatch.setattr(torch, allocate, _poisoned(getattr(torch, allocate)))
    monkeypatch.setattr(torch.Tensor, "new_empty", _poisoned(torch.Tensor.new_empty))
    sound = getattr(module, kernel)
    source = inspect.getsource(sound.fn)
    assert old in source, f"{kernel} has no {old!r}"
    source = source.replace(old, new)
    file = f"<{kernel} with {new!r} for {old!r}>"
    # Triton reads a kernel's source through linecache.
    monkeypatch.setitem(linecache.cache, file, (len(source), None, source.splitlines(keepends=True), file))
    scope = dict(vars(module))
    exec(compile(source, file, "exec"), scope)
    for name, user in list(sys.modules.items()):
        if name.startswith("foldcli_kernels.") and vars(user).get(kernel) is sound:
            monkeypatch.setattr(user, kernel, scope[kernel])


def opcheck(operator: Callable[..., object], inputs: tuple[object, ...]) -> None:
    """Run torch's own checks: schema, fake implementation, registered gradient, tracing with symbolic shapes."""
    torch.library.opcheck(operator, inputs)  # type: ignore[arg-type]
