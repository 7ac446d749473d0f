"""Float32 matrix products by oneDNN on AMD processors, where MKL, torch's usual library, leaves half of each register.

MKL takes AVX-512 on Intel's processors alone. On an EPYC that has it too, a product of 2048 x 2048 matrices ran at
0.20 TFLOP/s by MKL and at 0.44 by oneDNN, which torch carries as well and takes for bfloat16.
"""

import warnings
from functools import cache
from pathlib import Path

import torch

from foldcli.shapes import Float, Tensor

# FLOPs / 2 below which the call itself is most of the time.
WORTH_IT = 1 << 18
# Where batches have larger matrices, calls and copies one by one are little beside their products.
WORTH_ONE_BY_ONE = 1 << 22


@cache
def lags_behind() -> bool:
    """Whether MKL leaves half of this processor unused, and torch has what is needed to do without it."""
    cpuinfo = Path("/proc/cpuinfo")
    amd = cpuinfo.is_file() and "AuthenticAMD" in cpuinfo.read_text(errors="replace")
    able = torch.backends.mkldnn.is_available() and hasattr(torch.library, "get_kernel")
    return amd and able and torch.backends.cpu.get_cpu_capability() == "AVX512"


class Products:
    """Torch's `mm`, `addmm` and `bmm` of the CPU: float32 of some size by oneDNN, and what else there is as before.

    A dense layer in bfloat16 too: torch writes its bias into the whole result before the product.
    """

    def __init__(self) -> None:
        self.before = {name: torch.library.get_kernel(f"aten::{name}", "CPU") for name in ("mm", "addmm", "bmm")}
        self.keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
        self.linear = torch.ops.mkldnn._linear_pointwise.default
        self.library = torch.library.Library("aten", "IMPL")

    def install(self) -> None:
        """Stand in for torch's kernels, for all of the process; autograd and tracing are above them."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of every kernel that is replaced
            for name in self.before:
                self.library.impl(name, getattr(self, name), "CPU")

    def mm(self, a: Float[Tensor, "m k"], b: Float[Tensor, "k n"]) -> Tensor:
        if _suits(a, b, WORTH_IT):
            return self.linear(a, b.t(), None, "none", [], "")
        return self.before["mm"].call_boxed(self.keys, a, b)

    def addmm(self, bias: Tensor, a: Float[Tensor, "m k"], b: Float[Tensor, "k n"], **scales: float | int) -> Tensor:
        if bias.shape == b.shape[1:] and not scales and _suits(a, b, WORTH_IT, torch.bfloat16):
            return self.linear(a, b.t(), bias, "none", [], "")
        return self.before["addmm"].call_boxed(self.keys, bias, a, b, **scales)

    def bmm(self, a: Float[Tensor, "c m k"], b: Float[Tensor, "c k n"]) -> Tensor:
        if not _suit_one_by_one(a, b):
            return self.before["bmm"].call_boxed(self.keys, a, b)
        if len(a) == 1:
            return self.mm(a[0], b[0])[None]
        out = a.new_empty(len(a), a.shape[1], b.shape[2])
        for result, left, right in zip(out, a, b, strict=True):
            result.copy_(self.linear(left, right.t(), None, "none", [], ""))
        return out


def beside(a: Tensor, b: Tensor) -> int | None:
    """Bytes that a product takes beside its result; None if it is left to torch.

    oneDNN copies what it multiplies if that does not lie by rows; of a batch one after the other, and each result too.
    """
    if a.dim() == 2:
        return _copied(a) if _suits(a, b, WORTH_IT) else None
    if not _suit_one_by_one(a, b):
        return None
    result = a.shape[1] * b.shape[2] * a.itemsize if len(a) > 1 else 0
    return result + _copied(a[0])


def _copied(a: Tensor) -> int:
    return 0 if a.is_contiguous() else a.numel() * a.itemsize


def _suit_one_by_one(a: Tensor, b: Tensor) -> bool:
    return len(a) > 0 and _suits(a[0], b[0], WORTH_ONE_BY_ONE)


def _suits(a: Tensor, b: Tensor, least: int, *others: torch.dtype) -> bool:
    """Whether a product is of float32, or others, large enough, and of matrices that lie by rows or by columns.

    The second without gaps: for a part of another oneDNN has only its reference code, a thousand times slower.
    """
    large = a.shape[0] * a.shape[1] * b.shape[1] >= least
    kind = a.dtype == b.dtype and a.dtype in (torch.float32, *others)
    return large and kind and _dense(a) and (b.is_contiguous() or b.t().is_contiguous())


def _dense(matrix: Tensor) -> bool:
    rows, columns = matrix.stride()
    return (columns == 1 and rows >= matrix.shape[1]) or (rows == 1 and columns >= matrix.shape[0])
