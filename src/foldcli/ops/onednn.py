"""Float32 matrix products by oneDNN on AMD processors, where MKL, torch's usual library, does not use AVX-512.

MKL uses AVX-512 on Intel's processors alone. On an EPYC that has it too, a product of 2048 x 2048 matrices ran at
0.20 TFLOP/s by MKL and at 0.44 by oneDNN, which torch includes as well and uses for bfloat16.
"""

import warnings
from functools import cache
from pathlib import Path

import torch

from foldcli.shapes import Float, Tensor

# Multiply-adds below which the call itself takes most of the time.
MIN_WORK = 1 << 18
# Multiply-adds of one matrix of a batch above which separate calls and copies cost little beside the products.
MIN_WORK_IN_BATCH = 1 << 22


@cache
def mkl_lacks_avx512() -> bool:
    """Say whether MKL does not use this processor's AVX-512, and torch can use oneDNN instead."""
    cpuinfo = Path("/proc/cpuinfo")
    amd = cpuinfo.is_file() and "AuthenticAMD" in cpuinfo.read_text(errors="replace")
    able = hasattr(torch.library, "get_kernel") and onednn_uses_avx512()
    return amd and able and torch.backends.cpu.get_cpu_capability() == "AVX512"


def onednn_uses_avx512() -> bool:
    """Say whether torch's oneDNN may use AVX-512, which its bfloat16 needs; ONEDNN_MAX_CPU_ISA can forbid it."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class OnednnMatmuls:
    """Torch's `mm`, `addmm` and `bmm` on the CPU: float32 products of some size by oneDNN, all others as before.

    Dense layers in bfloat16 too, since torch writes the bias into the whole result before the product.
    """

    def __init__(self) -> None:
        self.original = {name: torch.library.get_kernel(f"aten::{name}", "CPU") for name in ("mm", "addmm", "bmm")}
        self.keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
        self.linear = torch.ops.mkldnn._linear_pointwise.default
        self.library = torch.library.Library("aten", "IMPL")

    def install(self) -> None:
        """Replace torch's kernels in this process; autograd and tracing work as before, since they come first."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of each kernel that is replaced
            for name in self.original:
                self.library.impl(name, getattr(self, name), "CPU")

    def mm(self, a: Float[Tensor, "m k"], b: Float[Tensor, "k n"]) -> Tensor:
        if _supported(a, b, MIN_WORK):
            return self.linear(a, b.t(), None, "none", [], "")
        return self.original["mm"].call_boxed(self.keys, a, b)

    def addmm(self, bias: Tensor, a: Float[Tensor, "m k"], b: Float[Tensor, "k n"], **scales: float | int) -> Tensor:
        if bias.shape == b.shape[1:] and not scales and _supported(a, b, MIN_WORK, torch.bfloat16):
            return self.linear(a, b.t(), bias, "none", [], "")
        return self.original["addmm"].call_boxed(self.keys, bias, a, b, **scales)

    def bmm(self, a: Float[Tensor, "c m k"], b: Float[Tensor, "c k n"]) -> Tensor:
        if not _batch_supported(a, b):
            return self.original["bmm"].call_boxed(self.keys, a, b)
        if len(a) == 1:
            return self.mm(a[0], b[0])[None]
        out = a.new_empty(len(a), a.shape[1], b.shape[2])
        turned = _turned(a[0], b[0])
        for result, left, right in zip(out, a, b, strict=True):
            if turned:
                result.copy_(self.linear(right.t(), left, None, "none", [], "").t())
            else:
                result.copy_(self.linear(left, right.t(), None, "none", [], ""))
        return out


def workspace_bytes(a: Tensor, b: Tensor) -> int | None:
    """Return the bytes that a product needs besides its result; None if it is left to torch.

    oneDNN copies a left matrix that is not row-major; a batch is done matrix by matrix, and each result is copied too.
    """
    if a.dim() == 2:
        return _copy_bytes(a) if _supported(a, b, MIN_WORK) else None
    if not _batch_supported(a, b):
        return None
    if len(a) == 1:
        return _copy_bytes(a[0])
    first = b[0].t() if _turned(a[0], b[0]) else a[0]
    return a.shape[1] * b.shape[2] * a.itemsize + _copy_bytes(first)


def _turned(a: Tensor, b: Tensor) -> bool:
    """Say whether to multiply the transposes in turn, since oneDNN would copy less."""
    return a.t().is_contiguous() and _copy_bytes(b.t()) < _copy_bytes(a)


def _copy_bytes(a: Tensor) -> int:
    return 0 if a.is_contiguous() else a.numel() * a.itemsize


def _batch_supported(a: Tensor, b: Tensor) -> bool:
    return len(a) > 0 and _supported(a[0], b[0], MIN_WORK_IN_BATCH)


def _supported(a: Tensor, b: Tensor, min_work: int, *dtypes: torch.dtype) -> bool:
    """Say whether a product is large enough, float32 or of other dtypes, and its matrices row- or column-major.

    The second matrix without gaps: with them oneDNN has only its reference code, a thousand times slower.
    """
    large = a.shape[0] * a.shape[1] * b.shape[1] >= min_work
    known = a.dtype == b.dtype and a.dtype in (torch.float32, *dtypes)
    return large and known and _dense(a) and (b.is_contiguous() or b.t().is_contiguous())


def _dense(matrix: Tensor) -> bool:
    rows, columns = matrix.stride()
    return (columns == 1 and rows >= matrix.shape[1]) or (rows == 1 and columns >= matrix.shape[0])
