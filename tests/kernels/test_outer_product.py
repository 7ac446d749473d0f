"""The outer product mean against its body in float64: results, every gradient, blocks, tiles; and broken kernels."""

from collections.abc import Callable

import pytest
import torch
from foldcli_kernels.outer_product import backward, forward, outer_product_mean, tiles
from foldcli_kernels.tuning import forced
from torch import Tensor

from foldcli import ops
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
# leading axes, s, i, j, c, e, f; a tile has 4 x 4 to 16 x 8 pairs and 16 to 32 sequences
Shape = tuple[tuple[int, ...], int, int, int, int, int, int]
SHAPES: list[Shape] = [
    ((6,), 1, 1, 1, 8, 8, 16),
    ((), 17, 5, 3, 8, 8, 32),
    ((2,), 32, 8, 8, 8, 8, 32),
    ((1, 2), 7, 2, 9, 6, 3, 20),
    ((), 33, 9, 5, 32, 32, 16),
]


def _inputs(shape: Shape, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Return left, right, weight and bias; and how many sequences cover each pair of columns, for some pairs none."""
    batch, sequences, rows, length, c, e, width = shape
    generator = torch.Generator().manual_seed(sequences)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    left, right = normal(*batch, sequences, rows, c), normal(*batch, sequences, length, e)
    weight, bias = normal(width, c * e) * (c * e) ** -0.5, normal(width)
    count = torch.randint(1, sequences + 1, (*batch, rows, length), generator=generator).float()
    if rows > 1:
        left[..., 0, :] = 0
        count[..., 0, :] = 0
        bias /= 100  # otherwise uncovered pairs, divided by 1e-3, would outweigh all others
    return [x.to(dtype) for x in (left, right, weight, bias)], count


def _on_flat(function: Callable[..., Tensor], count: Tensor) -> Callable[..., Tensor]:
    def apply(left: Tensor, right: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return function(left, right, (weight, bias), count.to(left.dtype))

    return apply


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_body(shape: Shape, dtype: torch.dtype) -> None:
    inputs, count = _inputs(shape, dtype)
    count = count.clamp(min=1)
    assert_agrees(_on_flat(outer_product_mean, count), _on_flat(ops.outer_product_mean, count), inputs)


def test_pairs_that_nothing_covers() -> None:
    inputs, count = _inputs(SHAPES[1], torch.float32)
    assert not count[0].any()
    assert_agrees(_on_flat(outer_product_mean, count), _on_flat(ops.outer_product_mean, count), inputs)
    found = _on_flat(outer_product_mean, count)(*inputs)[0]
    torch.testing.assert_close(found, (inputs[3] / 1e-3).expand_as(found))


def test_without_bias() -> None:
    inputs, count = _inputs(SHAPES[1], torch.float32)
    assert_agrees(_on_flat(outer_product_mean, count), _on_flat(ops.outer_product_mean, count), inputs[:3])


def test_slices_of_wider_tensors() -> None:
    """Columns and sequences with gaps between them, as sharding and chunking leave them."""
    inputs, count = _inputs(((), 17, 10, 7, 8, 8, 32), torch.float32)

    def sliced(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def apply(left: Tensor, right: Tensor, *rest: Tensor) -> Tensor:
            return _on_flat(function, count[1::2, 2:])(left[::2, 1::2], right[::2, 2:], *rest)

        return apply

    assert_agrees(sliced(outer_product_mean), sliced(ops.outer_product_mean), inputs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_in_many_blocks(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two rows, the last of one, so that no intermediate is computed at once."""
    inputs, count = _inputs(((2,), 9, 5, 7, 8, 6, 16), dtype)
    count = count.clamp(min=1)
    monkeypatch.setattr(backward, "BLOCK", 2 * 7 * 48)
    sizes = [len(range(5)[rows]) for _, rows in backward._blocks(torch.empty(2, 5, 7, 16), inputs[2])]
    assert sizes == [2, 2, 1] * 2
    assert_agrees(_on_flat(outer_product_mean, count), _on_flat(ops.outer_product_mean, count), inputs)


def test_intermediates_stay_within_their_block() -> None:
    """A block is at most BLOCK elements, or half a pair tensor if that is more, and at least half of that limit."""
    weight = torch.empty(128, 1024, device="meta")
    for samples, length in ((1, 256), (1, 2048), (100, 40)):
        mean = torch.empty(samples, length, length, 128, device="meta")
        blocks = [
            (len(range(samples)[some]), len(range(length)[rows])) for some, rows in backward._blocks(mean, weight)
        ]
        assert sum(some * rows for some, rows in blocks) == samples * length
        largest = max(some * rows for some, rows in blocks) * length * 1024
        assert largest <= max(backward.BLOCK, mean.numel() // 2)
        assert largest > max(backward.BLOCK, mean.numel() // 2) // 2


@pytest.mark.parametrize(
    ("shape", "kernel"), [(SHAPES[1], "outer_product_8"), (((), 40, 9, 9, 32, 32, 16), "outer_product_32")]
)
def test_every_candidate_tile_agrees(shape: Shape, kernel: str) -> None:
    inputs, count = _inputs(shape, torch.float32)
    for options in tiles.OPTIONS[(8, 32) if kernel.endswith("_8") else (32, 128)]:
        with forced(kernel, options):
            assert_agrees(_on_flat(outer_product_mean, count), _on_flat(ops.outer_product_mean, count), inputs)


def test_same_bits_twice() -> None:
    inputs, count = _inputs(SHAPES[2], torch.bfloat16)
    first, second = (outcome(_on_flat(outer_product_mean, count), inputs) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_operator() -> None:
    inputs, count = _inputs(((), 5, 2, 3, 8, 8, 16), torch.float32)
    opcheck(torch.ops.foldcli.outer_product_mean, (*(x.requires_grad_() for x in inputs), count))


def test_count_has_no_gradient() -> None:
    (left, right, weight, bias), count = _inputs(SHAPES[1], torch.float32)
    with pytest.raises(ValueError, match="outer_product_mean: no gradient"):
        outer_product_mean(left, right, (weight, bias), count.requires_grad_())


KERNEL_BREAKS = [
    ("at_right = right + batch * right_b + tl.cast(sequence, tl.int64) * right_s", "at_right = right"),  # one block
    ("(0, 2, 1, 3)", "(2, 0, 1, 3)"),  # i and j are swapped
    ("(c * E + e_in_weight)[:, None]", "(e_in_weight * C + c)[:, None]"),  # c and e are swapped
    ("matmul(outer, weight_rows, total)", "matmul(outer, weight_rows, tl.zeros_like(total))"),  # a group lost
    ("inside = sequence + s < sequences", "inside = sequence + s < sequences - 1"),  # the last sequence is lost
    ("covered.to(tl.float32) + epsilon", "covered.to(tl.float32) + 1.0"),
]


@pytest.mark.parametrize(("old", "new"), KERNEL_BREAKS)
def test_broken_kernel_is_rejected(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, count = _inputs(((), 37, 5, 6, 12, 8, 16), torch.float32)
    break_kernel(monkeypatch, forward, "outer_product_mean_forward", old, new)
    assert "result 0" in rejected(_on_flat(outer_product_mean, count), _on_flat(ops.outer_product_mean, count), inputs)


GRADIENT_BREAKS: list[tuple[str, object, set[int]]] = [
    ("_mean", lambda grad, count: grad.float(), {0, 1, 2, 3}),  # sums instead of means
    ("EPS", 0.1, {0, 1, 2, 3}),
]


@pytest.mark.parametrize(("name", "broken", "wrong"), GRADIENT_BREAKS)
def test_broken_gradient_is_rejected(
    name: str, broken: object, wrong: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, count = _inputs(SHAPES[1], torch.float32)
    monkeypatch.setattr(backward, name, broken)
    found = rejected(_on_flat(outer_product_mean, count), _on_flat(ops.outer_product_mean, count), inputs)
    assert found == {f"gradient of input {i}" for i in wrong}


def test_lost_block_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum of the weight's gradient runs over all rows of pairs but the last."""
    inputs, count = _inputs(SHAPES[1], torch.float32)
    whole = backward._of_weight

    def without_last(mean: Tensor, left: Tensor, right: Tensor, weight: Tensor) -> Tensor:
        return whole(mean[:, :-1], left[:, :, :-1], right, weight)

    monkeypatch.setattr(backward, "_of_weight", without_last)
    found = rejected(_on_flat(outer_product_mean, count), _on_flat(ops.outer_product_mean, count), inputs)
    assert found == {"gradient of input 2"}
