"""Residual with dropout against its body: the same mask bit for bit, axes, strides, and versions to be rejected."""

from collections.abc import Callable, Iterator

import pytest
import torch
import triton
import triton.language as tl
from foldcli_kernels import dropout as kernels
from foldcli_kernels.tuning import forced
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli import ops
from foldcli.ops import dropout as definition
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


@pytest.fixture(autouse=True)
def small_tiles() -> Iterator[None]:
    """Use tiles so small that every axis has several."""
    with forced("dropout_add", {"block_m": 64, "block_s": 2, "steps": 2}):
        yield


SEED = torch.tensor(0x1234_5678_9ABC_DEF0)


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(2)]


def kernel(shared: int, rate: float = 0.25, seed: Tensor = SEED) -> Callable[..., Tensor]:
    return lambda x, update: kernels.dropout_add(x, update, seed, rate, shared)


def body(shared: int, rate: float = 0.25, seed: Tensor = SEED) -> Callable[..., Tensor]:
    def plain(x: Tensor, update: Tensor) -> Tensor:
        with ops.backend("reference"):
            return definition.dropout_add(x, update, seed, rate, shared)

    return plain


@triton.jit
def random_kernel(seed, out, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    offset = tl.arange(0, BLOCK)
    tl.store(out + offset, tl.randint(tl.load(seed), offset).to(tl.int64) & 0xFFFFFFFF)


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**40 + 7, -1])
def test_definition_draws_the_numbers_of_triton(seed: int) -> None:
    found = torch.empty(64, dtype=torch.int64)
    random_kernel[(1,)](torch.tensor(seed), found, BLOCK=64)
    assert torch.equal(definition.philox(torch.tensor(seed), torch.arange(64)), found)


def test_definition_draws_the_published_numbers() -> None:
    """Compare with the value that the Random123 library publishes for a counter and key of zeros."""
    assert definition.philox(torch.tensor(0), torch.tensor([0])).item() == 0x6627E8D5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "shared"),
    [((5, 7, 32), 0), ((3, 7, 32), -2), ((2, 3, 5, 24), -3), ((2, 2, 5, 24), -2), ((2, 3, 2, 24), 0), ((1, 1), 0),
     ((3, 70, 1), 1), ((2, 2, 3, 5, 13), 2)],
)  # fmt: skip
def test_agrees_with_body(shape: tuple[int, ...], shared: int, dtype: torch.dtype) -> None:
    assert_agrees(kernel(shared), body(shared), inputs(shape, dtype))


@pytest.mark.parametrize(("shared", "rate"), [(-2, 0.5), (-3, 0.15), (-3, 0.9)])
def test_draws_the_mask_of_the_definition(shared: int, rate: float) -> None:
    x, update = torch.zeros(2, 3, 5, 40), torch.ones(2, 3, 5, 40)
    found, expected = kernel(shared, rate)(x, update), body(shared, rate)(x, update)
    assert torch.equal(found == 0, expected == 0)
    assert torch.equal(found == 0, (found == 0).select(shared, 0).unsqueeze(shared).expand_as(found))
    assert abs((found == 0).double().mean().item() - rate) < 0.1  # of 240 numbers or more


def test_gradient_has_the_mask_of_the_result() -> None:
    x, update = torch.zeros(3, 5, 8), torch.ones(3, 5, 8, requires_grad=True)
    result = kernel(-2)(x, update)
    result.sum().backward()
    assert torch.equal(update.grad, result.detach())


def test_mask_follows_the_seed() -> None:
    tensors = [torch.zeros(3, 5, 40), torch.ones(3, 5, 40)]
    first, again, other = (kernel(-2, seed=torch.tensor(seed))(*tensors) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    # the upper half of the seed counts as well
    assert not torch.equal(first, kernel(-2, seed=torch.tensor(1 + 2**32))(*tensors))


@pytest.mark.parametrize("draw", [kernels.dropout_add, definition.dropout_add])
def test_nothing_is_dropped_without_training_or_at_rate_zero(draw: Callable[..., Tensor]) -> None:
    x, update = inputs((3, 4, 8))
    assert torch.equal(draw(x, update, SEED, 0.5, -2, training=False), x + update)
    assert torch.equal(draw(x, update, SEED, 0.0, -2), x + update)


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "columns": lambda x: x.transpose(-2, -3),
    "sliced": lambda x: x[:, 1:, ::2],
    "reversed axes": lambda x: x.permute(2, 1, 0, 3),
    "channels first": lambda x: x.movedim(-3, -1),
}


@pytest.mark.parametrize("shared", [-2, -3])
@pytest.mark.parametrize("view", VIEWS)
def test_reads_views(view: str, shared: int) -> None:
    x, update = (VIEWS[view](tensor) for tensor in inputs((2, 3, 4, 4)))
    assert_agrees(kernel(shared), body(shared), [x, update])
    assert_agrees(kernel(shared), body(shared), [x, update.contiguous()])


def test_mask_does_not_depend_on_strides_or_tiles() -> None:
    x, update = torch.zeros(5, 6, 40), torch.ones(5, 6, 40)
    expected = kernel(0)(x, update)
    turned = [tensor.transpose(0, 1).contiguous().transpose(0, 1) for tensor in (x, update)]
    with forced("dropout_add", {"block_m": 512, "block_s": 4, "steps": 16}):
        assert torch.equal(kernel(0)(*turned), expected)


def test_mixed_precision() -> None:
    x, update = inputs((4, 5, 8))
    found = outcome(kernel(-2), [x, update.bfloat16()])
    expected = outcome(body(-2), [x, update.bfloat16()])
    assert {name: value.dtype for name, value in found.items()} == {name: v.dtype for name, v in expected.items()}
    assert all(torch.allclose(found[name], expected[name], rtol=1e-2, atol=1e-2) for name in found)


def test_dispatch_picks_the_kernel_where_the_mask_allows() -> None:
    x, update = inputs((3, 4, 8))
    with ops.backend("triton"):
        assert torch.equal(definition.dropout_add(x, update, SEED, 0.25, -2), kernel(-2)(x, update))
    with pytest.raises(ValueError, match="any axis but the last"):
        kernels.dropout_add(x, update, SEED, 0.25, -1)


def test_operator() -> None:
    for turn in (False, True):
        x, update = (t.transpose(0, 1) if turn else t for t in inputs((3, 4, 8)))
        leaves = (x.detach().requires_grad_(), update.detach().requires_grad_())
        opcheck(torch.ops.foldcli.dropout_add.default, (*leaves, SEED, 0.25, -2))
        opcheck(torch.ops.foldcli.dropout_add_backward.default, (x, SEED, 0.25, 0))


def test_traces_without_running() -> None:
    with FakeTensorMode() as mode:
        x, update = (mode.from_tensor(tensor.requires_grad_()) for tensor in inputs((3, 4, 8)))
        kernel(-2, seed=mode.from_tensor(SEED))(x, update).sum().backward()
    assert x.grad.shape == update.grad.shape == (3, 4, 8)


def test_checkpointed_gradients_are_the_same() -> None:
    tensors = inputs((6, 5, 8))
    again = outcome(lambda *t: torch.utils.checkpoint.checkpoint(kernel(-2), *t, use_reentrant=False), tensors)
    assert all(torch.equal(value, again[name]) for name, value in outcome(kernel(-2), tensors).items())


BROKEN = {
    "kept as they are": ("growth, 0.0", "1.0, 0.0"),
    "nothing dropped": ("growth, 0.0", "growth, growth"),
    "dropped and kept exchanged": (">= threshold", "< threshold"),
    "other bits": ("word >> 8", "word >> 7 & 0xFFFFFF"),
    "every line alike": ("line.to(tl.int64) * count", "0 * line.to(tl.int64) * count"),
    "each position its own": ("factor[None, :]", "tl.where(position[:, None] % 2 == 0, factor[None, :], 0.0)"),
    "last position lost": ("position < shared", "position + 1 < shared"),
    "stride of x for update": ("along * u2", "along * x2"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_broken_kernel_is_rejected(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    x, update = inputs((2, 5, 16), dtype)
    tensors = [x, update.transpose(0, 1).contiguous().transpose(0, 1)]
    assert not rejected(kernel(-2), body(-2), tensors)
    break_kernel(monkeypatch, kernels.kernel, "dropout_apply_mask", *BROKEN[name])
    assert "result 0" in rejected(kernel(-2), body(-2), tensors)
