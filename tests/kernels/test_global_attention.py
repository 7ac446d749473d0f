"""Global attention against its body in float64: results, every gradient, masks, strides; and broken kernels."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from foldcli_kernels.global_attention import backward, blocks, forward, global_attention
from torch import Tensor

from foldcli import ops
from foldcli.ops import attention
from tests.kernels.agreement import DTYPES, assert_agrees, bfloat16_as_on_a_gpu, break_kernel, opcheck, rejected

__all__ = ["bfloat16_as_on_a_gpu"]
# leading axes, columns, keys, heads, head dim; the tiles have 128 keys
SHAPES = [
    ((), 1, 2, 1, 8),
    ((), 3, 7, 8, 8),
    ((2,), 2, 128, 4, 16),
    ((), 2, 129, 5, 32),
    ((2, 1), 1, 257, 2, 64),
    ((), 2, 13, 3, 5),
]


def _inputs(shape: tuple[tuple[int, ...], int, int, int, int], dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Return queries, keys and values side by side, and a mask that leaves each column at least one key."""
    batch, columns, keys, heads, dim = shape
    generator = torch.Generator().manual_seed(keys)
    q = torch.randn(*batch, columns, heads, dim, generator=generator)
    packed = torch.randn(*batch, columns, keys, 2 * dim, generator=generator)
    mask = (torch.rand(*batch, columns, keys, generator=generator) > 0.3).float()
    mask[..., keys // 2] = 1
    return [q.to(dtype), packed.to(dtype)], mask


def _on_halves(function: Callable[..., Tensor], mask: Tensor) -> Callable[..., Tensor]:
    def apply(q: Tensor, packed: Tensor) -> Tensor:
        k, v = packed.chunk(2, dim=-1)
        return function(q, k, v, mask.to(q.dtype))

    return apply


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_body(shape: tuple[tuple[int, ...], int, int, int, int], dtype: torch.dtype) -> None:
    inputs, mask = _inputs(shape, dtype)
    assert_agrees(_on_halves(global_attention, mask), _on_halves(ops.global_attention, mask), inputs)


def test_transposed_columns() -> None:
    """Keys, values and mask are those of an MSA that is stored row by row."""
    (q, packed), mask = _inputs(((2,), 5, 11, 4, 8), torch.float32)
    packed, mask = packed.transpose(1, 2).contiguous(), mask.transpose(1, 2).contiguous().transpose(1, 2)

    def transposed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda q, packed: _on_halves(function, mask)(q, packed.transpose(1, 2))

    assert_agrees(transposed(global_attention), transposed(ops.global_attention), [q, packed])


@pytest.mark.parametrize("dtype", DTYPES)
def test_column_without_keys_attends_evenly(dtype: torch.dtype) -> None:
    (q, packed), mask = _inputs(((), 2, 140, 3, 8), dtype)
    mask[0] = 0
    q, packed = q.requires_grad_(), packed.requires_grad_()
    out = _on_halves(global_attention, mask)(q, packed)
    values = packed[0, :, 8:].detach().float()
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if dtype != torch.float32 else {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(out[0].float(), values.mean(0).expand(3, 8), **tolerance)
    out.sum().backward()
    assert q.grad is not None
    assert packed.grad is not None
    assert bool(q.grad.isfinite().all())
    torch.testing.assert_close(packed.grad[0, :, 8:].float(), torch.full((140, 8), 3 / 140), **tolerance)


def test_one_key_is_copied() -> None:
    (q, packed), mask = _inputs(((), 2, 1, 3, 8), torch.float32)
    q, packed = q.requires_grad_(), packed.requires_grad_()
    out = _on_halves(global_attention, mask)(q, packed)
    torch.testing.assert_close(out, packed[..., 8:].expand(2, 3, 8))
    out.sum().backward()
    torch.testing.assert_close(q.grad, torch.zeros_like(q), rtol=0, atol=1e-5)
    torch.testing.assert_close(packed.grad[..., 8:], torch.full((2, 1, 8), 3.0))


def test_large_logits_stay_finite() -> None:
    inputs, mask = _inputs(((), 2, 200, 4, 8), torch.float32)
    assert_agrees(
        _on_halves(global_attention, mask), _on_halves(ops.global_attention, mask), [inputs[0] * 60, inputs[1]]
    )


def test_same_bits_twice() -> None:
    (q, packed), mask = _inputs(((), 3, 150, 4, 8), torch.bfloat16)
    first, second = (_on_halves(global_attention, mask)(q, packed) for _ in range(2))
    assert torch.equal(first, second)


def test_operator() -> None:
    (q, packed), mask = _inputs(((), 2, 9, 3, 8), torch.float32)
    k, v = (x.contiguous().requires_grad_() for x in packed.chunk(2, dim=-1))
    opcheck(torch.ops.foldcli.global_attention, (q.requires_grad_(), k, v, mask))


def test_masked_keys_have_the_bias_of_the_body() -> None:
    assert blocks.MASK_BIAS.value == attention.MASK_BIAS


def test_mask_has_no_gradient() -> None:
    (q, packed), mask = _inputs(((), 2, 9, 3, 8), torch.float32)
    with pytest.raises(ValueError, match="global_attention: no gradient"):
        _on_halves(global_attention, mask.requires_grad_())(q, packed)


FORWARD, BACKWARD = (forward, "global_attention_forward"), (backward, "global_attention_backward")
LOGITS = (blocks, "masked_logits")
BREAKS = [
    (FORWARD, "shrink[:, None]", "1.0", {"result 0"}),  # the sum of earlier tiles is not rescaled
    (LOGITS, "((keep - 1.0) * (-MASK_BIAS * LOG2E))[None, :]", "keep[None, :]", {"result 0"}),  # masked keys count
    (LOGITS, "(scale * LOG2E)", "scale", {"result 0"}),  # the wrong base
    (BACKWARD, "- inner[:, None]", "", {"gradient of input 0"}),  # the softmax's own term is lost
    (BACKWARD, "dtype), block, total)", "dtype), block, zero_total)", {"gradient of input 0"}),
    (BACKWARD, "share[:, None]", "1.0", {"gradient of input 0", "gradient of input 1"}),
]


@pytest.mark.parametrize(("kernel", "old", "new", "wrong"), BREAKS)
def test_broken_kernel_is_rejected(
    kernel: tuple[ModuleType, str], old: str, new: str, wrong: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, mask = _inputs(((), 2, 150, 3, 8), torch.float32)
    # Keeps only the last tile's share of the queries' gradient.
    new = new.replace("zero_total", "tl.zeros([BLOCK_H, BLOCK_D], tl.float32)")
    break_kernel(monkeypatch, *kernel, old, new)
    assert wrong <= rejected(_on_halves(global_attention, mask), _on_halves(ops.global_attention, mask), inputs)
