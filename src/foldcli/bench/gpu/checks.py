"""Tests of the kernels on the device: agreement with float64, and the same bits in every run."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from foldcli import ops
from foldcli.bench.gpu.cases import CASES, ODD, REAL, TINY, Draw, Work, cases, precision

# One rounding in float32 relative to the root mean square, as in tests/kernels: a body's sum can be exact.
FLOOR = 2e-7
ALLOWED = 3.0
HALVES = (torch.bfloat16, torch.float16)


def agreement(device: torch.device, only: slice) -> Iterator[dict[str, Any]]:
    """Yield the largest ratio of a kernel's error to the error allowed, for each case, size and dtype."""
    dry = device.type == "cpu"
    for name, make in list(CASES.items())[only]:
        for size in (TINY,) if dry else (ODD, REAL):
            for dtype in (precision(device),) if dry else (*HALVES, torch.float32):
                row = {"what": name, "size": f"r={size.r} s={size.s}", "dtype": str(dtype).removeprefix("torch.")}
                yield row | _ratios(make(Draw(device, dtype), size), dtype)


def _ratios(work: Work, dtype: torch.dtype) -> dict[str, Any]:
    try:
        exact, plain = outcome(work, torch.float64, "reference"), outcome(work, dtype, "reference")
        found = outcome(work, dtype, "triton")
    except Exception as error:  # one failing case must not lose the others
        return failure(error)
    ratios = {name: _rms(found[name] - y) / _allowed(plain[name] - y, y) for name, y in exact.items()}
    worst = max(ratios, key=lambda name: float("inf") if ratios[name] != ratios[name] else ratios[name])
    relative = _rms(found[worst] - exact[worst]) / max(_rms(exact[worst]), 1e-30)
    fine = all(ratio <= 1 for ratio in ratios.values())
    return {"ok": fine, "worst": worst, "ratio": ratios[worst], "error": relative}


def failure(error: Exception) -> dict[str, Any]:
    """Return what a row says of a case that raised."""
    lines = str(error).strip().splitlines() or [""]
    return {"ok": False, "failed": f"{type(error).__name__}: {lines[0][:300]}"}


def outcome(work: Work, dtype: torch.dtype, backend: str) -> dict[str, Tensor]:
    """Return results and gradients in a precision, for fixed gradients of the results."""
    cast = work.to(dtype)
    with ops.backend(backend):
        results = cast.run()
        generator = torch.Generator(results[0].device).manual_seed(1)
        # Rounded to half precision first: the same numbers whatever the precision.
        grads = [torch.randn(y.shape, generator=generator, device=y.device).bfloat16().to(dtype) for y in results]
        gradients = torch.autograd.grad(results, list(cast.leaves.values()), grads)
    named = {f"result {i}": y.detach() for i, y in enumerate(results)}
    return named | {f"gradient of {name}": g for name, g in zip(cast.leaves, gradients, strict=True)}


def _rms(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()


def _allowed(error: Tensor, exact: Tensor) -> float:
    return max(ALLOWED * _rms(error) + FLOOR * _rms(exact), 1e-30)


def repeatability(device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield whether results and gradients have the same bits in several runs."""
    dry = device.type == "cpu"
    dtype = precision(device)
    for name, make in cases(device).items():
        row: dict[str, Any] = {"what": name}
        try:
            work = make(Draw(device, dtype), TINY if dry else REAL)
            first = outcome(work, dtype, "triton")
            again = [outcome(work, dtype, "triton") for _ in range(1 if dry else 5)]
            differ = sorted({key for run in again for key in first if not torch.equal(first[key], run[key])})
            yield row | {"ok": not differ, "differ": differ}
        except Exception as error:  # as above
            yield row | failure(error)
