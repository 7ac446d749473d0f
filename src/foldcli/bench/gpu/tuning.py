"""Time every kernel's candidate launch parameters on this device and keep the fastest, by dtype and size class."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from foldcli.bench.gpu.cases import REAL, TINY, Draw, Sizes, Work, cases, precision
from foldcli.bench.gpu.checks import failure
from foldcli.bench.gpu.timing import backward, forward, milliseconds
from foldcli.ops import kernel_tuning

SIZES = (REAL, Sizes(r=512, s=512), Sizes(r=1024, s=512))
# Cases whose names begin so: other cases launch the same kernels.
LEFT_OUT = ("attention, head dim", "layer norm of")
Key = tuple[str, torch.dtype, str]


def tuning(device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield, and keep in the cache file, the fastest parameters of each kernel that a case launches."""
    dry = device.type == "cpu"
    seen: set[Key] = set()
    for size in (TINY,) if dry else SIZES:
        for name, make in _cases(device).items():
            if name.startswith(LEFT_OUT):
                continue
            try:
                for row in _tune(_work(make, device, size), device, seen):
                    yield {"what": name, "size": f"r={size.r} s={size.s}"} | row
            except Exception as error:  # one failing case must not lose the others
                yield {"what": name, "size": f"r={size.r} s={size.s}"} | failure(error)


def _tune(work: Work, device: torch.device, seen: set[Key]) -> Iterator[dict[str, Any]]:
    for prepare in (_forward, _backward):
        with kernel_tuning.asked() as keys:
            prepare(work)()
        for key in sorted(keys - seen, key=str):
            seen.add(key)
            if len(kernel_tuning.declared[key[0]].candidates) > 1:
                yield _fastest(key, prepare(work), device)


def _cases(device: torch.device) -> dict[str, Callable[[Draw, Sizes], Work]]:
    # One is enough in the interpreter, where the candidates' large tiles take long.
    return dict(list(cases(device).items())[-1:]) if device.type == "cpu" else cases(device)


def _work(make: Callable[[Draw, Sizes], Work], device: torch.device, size: Sizes) -> Work:
    dtype = precision(device)
    return make(Draw(device, dtype), size).to(dtype)


def _forward(work: Work) -> Callable[[], object]:
    return forward(work.run, "triton")


def _backward(work: Work) -> Callable[[], object]:
    return backward(work.run, list(work.leaves.values()), "triton")


def _fastest(key: Key, call: Callable[[], object], device: torch.device) -> dict[str, Any]:
    """Time a call with each of a kernel's candidates and record the best; those that fail are passed over."""
    kernel, dtype, size = key
    times: list[tuple[float, kernel_tuning.Parameters]] = []
    row: dict[str, Any] = {"kernel": kernel, "dtype": str(dtype).removeprefix("torch."), "size_class": size}
    for candidate in _candidates(kernel, device):
        try:
            with kernel_tuning.forced(kernel, candidate):
                call()  # compiles
                times.append((milliseconds(call, device, budget=0.05), candidate))
        except Exception as error:  # such as too little shared memory on this device
            row.setdefault("passed_over", []).append({**candidate} | failure(error))
    if not times:
        return row | {"ok": False}
    best, parameters = min(times, key=lambda timed: timed[0])
    if device.type == "cuda":
        kernel_tuning.record({kernel: {row["dtype"]: {size: parameters}}}, device)
    tried = [{"ms": time, **candidate} for time, candidate in times]
    return row | {"ok": True, "ms": best, "parameters": parameters, "tried": tried}


def warming(device: torch.device, only: slice) -> Iterator[dict[str, Any]]:
    """Run once what tuning will run, so that it is compiled; the compiled kernels stay in Triton's cache on disk."""
    for name, make in list(_cases(device).items())[only]:
        row: dict[str, Any] = {"what": name, "ok": True}
        try:
            work = _work(make, device, TINY if device.type == "cpu" else REAL)
            row["compiled"] = sum(_run_all(prepare(work), device) for prepare in (_forward, _backward))
        except Exception as error:  # the part that runs this kernel reports it
            row |= failure(error)
        yield row


def _candidates(kernel: str, device: torch.device) -> tuple[kernel_tuning.Parameters, ...]:
    # Two are enough to choose from in the interpreter, which is slow.
    return kernel_tuning.declared[kernel].candidates[: 2 if device.type == "cpu" else None]


def _run_all(call: Callable[[], object], device: torch.device) -> int:
    with kernel_tuning.asked() as keys:
        call()
    ran = 0
    for kernel in sorted({kernel for kernel, _, _ in keys}):
        for candidate in _candidates(kernel, device):
            # What fails here fails in tuning too, which reports it.
            with contextlib.suppress(Exception), kernel_tuning.forced(kernel, candidate):
                call()
                ran += 1
    return ran
