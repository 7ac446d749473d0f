"""Gated attention against its body: shapes, strides, masks, gradients, and versions that must be rejected."""

import contextlib
from collections.abc import Iterator

import pytest
import torch
import torch.utils.checkpoint
from foldcli_kernels.attention import backward, forward, gated_attention, mask
from foldcli_kernels.attention.tiles import DIMS, kernel_name
from foldcli_kernels.tuning import forced
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli import ops
from foldcli.ops.dispatch import backend
from tests.kernels.agreement import (
    DTYPES,
    assert_agrees,
    bfloat16_as_on_a_gpu,
    break_kernel,
    opcheck,
    outcome,
    rejected,
)

__all__ = ["bfloat16_as_on_a_gpu"]  # a fixture that pytest finds here

SMALL = {"block_m": 32, "block_n": 32, "num_warps": 4, "num_stages": 2}


@contextlib.contextmanager
def tiles(dim: int, **parameters: int) -> Iterator[None]:
    """Run all passes with small tiles, so that short rows take several."""
    own = {"forward": {"rows": 2}, "bias_backward": {"programs": 6}, "key_backward": {}, "query_backward": {}}
    with contextlib.ExitStack() as stack:
        stack.enter_context(forced("attention_gate_backward", {"rows": 2, "block_m": 16}))
        for step, more in own.items():
            here = {**SMALL, **more, **{key: parameters[key] for key in parameters if key in (*SMALL, *more)}}
            for biased in (True, False):
                stack.enter_context(forced(kernel_name(step, dim, biased), here))
        yield


def inputs(
    batch: tuple[int, ...], g: int, n: int, h: int, dim: int, dtype: torch.dtype = torch.float32, biased: bool = True
) -> list[Tensor]:
    """Return packed, gate_bias and, if biased, bias: the same numbers in every precision."""
    generator = torch.Generator().manual_seed(n)
    sizes = [(*batch, g, n, 4 * h * dim), (h * dim,), (*batch, h, n, n)]
    return [torch.randn(size, generator=generator).bfloat16().to(dtype) for size in sizes[: 2 + biased]]


def masked(batch: tuple[int, ...], g: int, n: int) -> Tensor:
    """Return a mask that masks about a third of the keys, but never the last of a row."""
    mask = (torch.rand((*batch, g, n), generator=torch.Generator().manual_seed(g)) > 0.3).float()
    mask[..., -1] = 1
    return mask


class Case:
    """The kernel and its body as functions of the tensors that have gradients, for one mask."""

    def __init__(self, heads: int, mask: Tensor) -> None:
        self.heads, self.mask = heads, mask

    def kernel(self, packed: Tensor, gate_bias: Tensor, bias: Tensor | None = None) -> Tensor:
        return gated_attention(packed, gate_bias, self.heads, self.mask, bias)

    def body(self, packed: Tensor, gate_bias: Tensor, bias: Tensor | None = None) -> Tensor:
        with backend("reference"):
            return ops.gated_attention(packed, gate_bias, self.heads, self.mask.to(packed.dtype), bias)


SHAPES = {  # leading axes, rows, positions, heads, head dim, with a bias
    "prime": ((), 3, 37, 1, 8, True),
    "tile": ((), 2, 32, 2, 16, False),
    "one past a tile": ((), 3, 33, 1, 32, True),
    "one row": ((), 1, 17, 1, 64, False),
    "batches": ((2, 1), 3, 7, 2, 16, True),
    "short": ((), 3, 5, 1, 8, False),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_body(shape: str, dtype: torch.dtype) -> None:
    batch, g, n, h, dim, biased = SHAPES[shape]
    case = Case(h, masked(batch, g, n))
    with tiles(dim):
        assert_agrees(case.kernel, case.body, inputs(batch, g, n, h, dim, dtype, biased))


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_agrees_with_the_tiles_that_ship(dim: int, dtype: torch.dtype) -> None:
    case = Case(1, masked((), 2, 35))
    assert_agrees(case.kernel, case.body, inputs((), 2, 35, 1, dim, dtype))


@pytest.mark.parametrize(("rows", "programs"), [(1, 1), (2, 5), (3, 100), (2, 1)])
def test_any_share_of_rows_gives_the_same(rows: int, programs: int) -> None:
    case = Case(1, masked((), 5, 18))
    with tiles(8, rows=rows, programs=programs, block_m=16):
        assert_agrees(case.kernel, case.body, inputs((), 5, 18, 1, 8))


@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_columns_are_read_and_written_in_place(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, *others = inputs((), 3, 9, 2, 8, dtype)
    columns = packed.transpose(0, 1).contiguous().transpose(0, 1)
    case = Case(2, masked((), 9, 3).T)
    seen = []
    monkeypatch.setattr(forward, "attention_forward", _Spy(forward.attention_forward, seen))
    with tiles(8):
        found = outcome(case.kernel, [columns, *others])
        rows = outcome(case.kernel, [packed, *others])
        assert_agrees(case.kernel, case.body, [columns, *others])
    assert seen[0][0].data_ptr() == columns.data_ptr()
    assert found["result 0"].stride() == (16, 3 * 16, 1)
    assert found["gradient of input 0"].stride() == columns.stride()
    assert all(torch.equal(found[name], rows[name]) for name in rows)


class _Spy:
    """A kernel that records the arguments of each launch."""

    def __init__(self, kernel: object, seen: list[tuple[Tensor, ...]]) -> None:
        self.kernel, self.seen = kernel, seen

    def __getitem__(self, grid: tuple[int, ...]) -> object:
        def launch(*arguments: Tensor, **options: int) -> None:
            self.seen.append(arguments)
            self.kernel[grid](*arguments, **options)  # type: ignore[index]

        return launch


def test_reads_slices_and_strided_bias() -> None:
    packed, gate_bias, bias = inputs((2,), 4, 17, 1, 16)
    views = [packed[:, 1:, :, :], gate_bias, bias.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)]
    case = Case(1, masked((2,), 3, 17).bool())
    with tiles(16):
        assert_agrees(case.kernel, case.body, views)
        assert_agrees(case.kernel, case.body, [torch.stack(2 * [packed], -1)[..., 0][:, 1:], *views[1:]])
        channels_first = packed[:, 1:].movedim(-1, 1).contiguous().movedim(1, -1)
        assert_agrees(case.kernel, case.body, [channels_first, *views[1:]])


@pytest.mark.parametrize("biased", [True, False], ids=["bias", "plain"])
def test_fully_masked_rows_attend_evenly(biased: bool) -> None:
    mask = masked((), 4, 19)
    mask[1:3] = 0

    def spelled_out(packed: Tensor, gate_bias: Tensor, bias: Tensor | None = None) -> Tensor:
        """In float32 a bias of -1e9 absorbs the logits; torch's fused attention has wrong gradients."""
        q, k, v, gate = packed.chunk(4, -1)
        logits = q @ k.mT / 4 + (mask[:, None, :] - 1) * 1e9
        weights = (logits if bias is None else logits + bias).softmax(-1)
        return weights @ v * (gate + gate_bias).sigmoid()

    case, tensors = Case(1, mask), inputs((), 4, 19, 1, 16, biased=biased)
    with tiles(16):
        exact, found = outcome(spelled_out, tensors), outcome(case.kernel, tensors)
    for name, truth in exact.items():
        torch.testing.assert_close(found[name], truth, atol=3e-6, rtol=3e-6)
    values, gate = tensors[0][1, :, 32:48], tensors[0][1, :, 48:] + tensors[1]
    torch.testing.assert_close(found["result 0"][1], values.mean(0) * gate.sigmoid())


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_fully_masked_rows_are_finite_in_half_precision(dtype: torch.dtype) -> None:
    case = Case(1, torch.zeros(2, 19))
    with tiles(16):
        found = outcome(case.kernel, inputs((), 2, 19, 1, 16, dtype))
        exact = outcome(case.kernel, inputs((), 2, 19, 1, 16))
    for name, truth in exact.items():
        torch.testing.assert_close(found[name].float(), truth, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_hardly_any_positions(n: int, dtype: torch.dtype) -> None:
    """With one position its weight is 1 for any logits, so that their gradients are rounding errors alone."""
    case, tensors = Case(1, torch.ones(3, n)), inputs((), 3, n, 1, 16, dtype)
    eps = torch.finfo(dtype).eps
    found, exact = outcome(case.kernel, tensors), outcome(case.body, [x.double() for x in tensors])
    for name, truth in exact.items():
        torch.testing.assert_close(found[name].double(), truth, atol=4 * eps, rtol=eps)


def test_large_logits() -> None:
    packed, gate_bias, bias = inputs((), 2, 19, 1, 16)
    case = Case(1, masked((), 2, 19))
    with tiles(16):
        assert_agrees(case.kernel, case.body, [3 * packed, gate_bias, 20 * bias])


def test_gradients_do_not_depend_on_the_run() -> None:
    case, tensors = Case(1, masked((), 5, 19)), inputs((), 5, 19, 1, 8, torch.bfloat16)
    with tiles(8):
        first, second = outcome(case.kernel, tensors), outcome(case.kernel, tensors)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_bias_without_gradient() -> None:
    packed, gate_bias, bias = inputs((), 3, 19, 1, 8)
    case = Case(1, masked((), 3, 19))
    with tiles(8):
        whole = outcome(case.kernel, [packed, gate_bias, bias])
        found = outcome(lambda *tensors: case.kernel(*tensors, bias), [packed, gate_bias])
    assert all(torch.equal(found[name], whole[name]) for name in found)


@pytest.mark.parametrize("empty", [(0, 5), (3, 0)])
def test_nothing_to_attend(empty: tuple[int, int]) -> None:
    case, tensors = Case(1, torch.ones(empty)), inputs((), *empty, 1, 8)
    found, exact = outcome(case.kernel, tensors), outcome(case.body, tensors)
    for name, truth in exact.items():
        torch.testing.assert_close(found[name], truth)


def test_unknown_head_dim_is_refused() -> None:
    packed, gate_bias = inputs((), 2, 3, 1, 24, biased=False)
    with pytest.raises(ValueError, match="head dim 24 is none of 8, 16, 32, 64"):
        gated_attention(packed, gate_bias, 1, torch.ones(2, 3))


@pytest.mark.parametrize("biased", [True, False], ids=["bias", "plain"])
def test_operator(biased: bool) -> None:
    packed, gate_bias, *bias = [x.requires_grad_() for x in inputs((1,), 2, 6, 1, 8, biased=biased)]
    mask, shared = masked((1,), 2, 6), bias[0] if bias else None
    columns = packed.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    channels_first = packed.detach().mT.contiguous().mT.requires_grad_()
    for x in (columns, channels_first) if biased else (columns,):
        opcheck(torch.ops.foldcli.gated_attention.default, (x, gate_bias, 1, mask, shared))
        plain = [None if y is None else y.detach() for y in (x, gate_bias, shared)]
        out, *saved = torch.ops.foldcli.gated_attention(*plain[:2], 1, mask, plain[2])
        arguments = (out, *plain[:2], 1, plain[2], out, *saved, biased)
        opcheck(torch.ops.foldcli.gated_attention_backward.default, arguments)


def test_traces_without_running() -> None:
    with FakeTensorMode() as mode:
        packed, gate_bias, bias = (mode.from_tensor(x.requires_grad_()) for x in inputs((2,), 3, 7, 2, 8))
        result = gated_attention(packed, gate_bias, 2, mode.from_tensor(torch.ones(2, 3, 7)), bias)
        result.sum().backward()
    assert result.shape == (2, 3, 7, 16)
    assert [x.grad.shape for x in (packed, gate_bias, bias)] == [x.shape for x in (packed, gate_bias, bias)]


def test_checkpointed_gradients_are_the_same() -> None:
    case, tensors = Case(1, masked((), 2, 7)), inputs((), 2, 7, 1, 8)
    again = outcome(lambda *t: torch.utils.checkpoint.checkpoint(case.kernel, *t, use_reentrant=False), tensors)
    assert all(torch.equal(value, again[name]) for name, value in outcome(case.kernel, tensors).items())


FORWARD, GATE = "attention_forward", "attention_backward_gate"
KEY, QUERY, SHARED = "attention_backward_dkv", "attention_backward_dq", "attention_backward_dbias"
PACKED, GATE_BIAS, BIAS = (f"gradient of input {i}" for i in range(3))
BROKEN = {
    "no mask": ("attend", "mask_bias(offset, fill)", "offset.to(tl.float32)", "result 0"),
    "old sum not shrunk": ("attend", "tl.fma(mass, shrink, ", "(mass + ", "result 0"),
    "wrong scale": (FORWARD, "DIM**-0.5", "DIM**-0.4", "result 0"),
    "gate without its bias": (FORWARD, " + shift[None, :]", "", "result 0"),
    "bias of the tile before": (FORWARD, "first, start, length", "first, 0, length", "result 0"),
    "one row for the whole group": (FORWARD, "load_head(sides[r] + hd,", "load_head(sides[0] + hd,", "result 0"),
    "natural logarithm": (FORWARD, "tl.log2(mass", "tl.log(mass", PACKED),
    "mask past the end": ("attention_mask_fill", "key < length, other=0", "key < length, other=1", "result 0"),
    "gate's slope incomplete": (GATE, "product * (1 - gate)", "product", GATE_BIAS),
    "last row only": (GATE, "total += slope", "total = slope", GATE_BIAS),
    "delta left out of keys": (KEY, " - inner[None, :]", "", PACKED),
    "later queries lost": (KEY, "tl.range(0, length, BLOCK_M", "tl.range(0, BLOCK_M, BLOCK_M", PACKED),
    "keys not scaled": (KEY, "grad_keys * SCALE", "grad_keys", PACKED),
    "masked keys kept": (KEY, "* factor < 0", "* factor < -1e38", PACKED),
    "mask of the first row": (KEY, "fill + mask_line * keys_pitch", "fill", PACKED),
    "delta left out of queries": (QUERY, " - inner[:, None]", "", PACKED),
    "masked keys in queries": (QUERY, "mask_bias(offset, masked)", "offset.to(tl.float32)", PACKED),
    "rows not added": (SHARED, "tl.fma(weight, slope, total)", "weight * slope", BIAS),
    "row lost": (SHARED, "tl.range(share * per_share,", "tl.range(share * per_share + 1,", BIAS),
    "bias not over the scale": (SHARED, "offset *= 1 / SCALE", "offset *= 1", BIAS),
    "masked keys in the bias": (SHARED, " + masked[None, :]", "", BIAS),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_kernel_is_rejected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, old, new, wrong = BROKEN[name]
    case, tensors = Case(1, masked((), 3, 35)), inputs((), 3, 35, 1, 8)
    module = next(module for module in (backward, forward, mask) if hasattr(module, kernel))
    break_kernel(monkeypatch, module, kernel, old, new)
    with tiles(8, programs=1):
        assert wrong in rejected(case.kernel, case.body, tensors)
