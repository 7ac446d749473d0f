"""Every chunking that a rule offers: from chunks of the operands come the same chunks of the results."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from foldcli import ops
from foldcli.autochunk import chunked  # noqa: F401 - registers the rules
from foldcli.autochunk.dimensions import RULES, chunkings
from foldcli.autochunk.graph import Call, Ref, mapped, name_of, tensors
from foldcli.autochunk.split_calls import triangle_operand


def r(*shape: int) -> Tensor:
    return torch.randn(*shape)


def norm(c: int) -> tuple[Tensor, Tensor]:
    return r(c), r(c)


INDEX = torch.tensor([[0, 2, 1, 1], [3, 0, 0, 2]])
# Function, arguments, number of chunkings to be found.
CASES: list[tuple[Callable[..., Any], tuple[Any, ...], int]] = [
    (Tensor.add, (r(4, 6), r(3, 1, 6)), 3),
    (torch.where, (r(4, 6) > 0, r(6), r(4, 1)), 2),
    (Tensor.sum, (r(4, 6, 3), (0, -1)), 1),
    (Tensor.sum, (r(4, 6, 3), 1, True), 2),
    (Tensor.mean, (r(4, 6, 3), -1), 2),
    (Tensor.softmax, (r(4, 6, 3), -1), 2),
    (torch.linalg.vector_norm, (r(4, 6), 2, -1), 1),
    (F.layer_norm, (r(4, 6, 3), (6, 3), r(6, 3), r(6, 3)), 1),
    (F.group_norm, (r(2, 6, 5), 3, r(6), r(6)), 2),
    (F.embedding, (INDEX, r(4, 5)), 2),
    (F.one_hot, (INDEX, 4), 2),
    (Tensor.gather, (r(2, 4), 1, INDEX), 1),
    (torch.linalg.cross, (r(4, 3), r(4, 3)), 1),
    (Tensor.transpose, (r(4, 6, 3), 0, -1), 3),
    (Tensor.permute, (r(4, 6, 3), 2, 0, 1), 3),
    (Tensor.movedim, (r(4, 6, 3), -1, -3), 3),
    (Tensor.unsqueeze, (r(4, 6), 1), 2),
    (Tensor.squeeze, (r(4, 1, 6), 1), 2),
    (Tensor.flatten, (r(4, 6, 3), 0, 1), 2),
    (Tensor.unflatten, (r(12, 5), 0, (4, -1)), 2),
    (Tensor.reshape, (r(4, 6, 5), (24, 5)), 2),
    (Tensor.reshape, (r(4, 6, 5), 8, 3, 5), 2),
    (Tensor.expand, (r(4, 1, 5), 3, 4, 6, 5), 4),
    (Tensor.expand_as, (r(4, 1), r(4, 6)), 2),
    (Tensor.chunk, (r(4, 6, 5), 2, 1), 2),
    (Tensor.split, (r(4, 6), [2, 4], 1), 1),
    (Tensor.unbind, (r(4, 6, 2), -1), 2),
    (torch.cat, ([r(4, 6), r(4, 3)], 1), 1),
    (torch.stack, ([r(4, 6), r(4, 6)], 1), 2),
    (Tensor.__getitem__, (r(4, 6, 5, 3), (slice(None), 0, None, Ellipsis, slice(1, 3))), 2),
    (F.linear, (r(4, 6), r(5, 6), r(5)), 2),
    (torch.matmul, (r(2, 4, 6), r(2, 6, 5)), 3),
    (torch.matmul, (r(2, 4, 6), r(6, 5)), 3),
    (torch.einsum, ("...hij,...jhd->...ihd", r(2, 4, 6, 5), r(2, 5, 4, 3)), 4),
    (F.scaled_dot_product_attention, (r(2, 4, 6, 8), r(2, 4, 5, 8), r(2, 4, 5, 8), r(4, 6, 5)), 3),
    (torch.cdist, (r(2, 4, 3), r(2, 6, 3)), 3),
    (F.conv2d, (r(2, 4, 8, 8), r(6, 4, 3, 3), r(6)), 2),
    (F.avg_pool2d, (r(2, 4, 8, 8), 2), 2),
    (ops.layer_norm, (r(4, 6, 8), norm(8)), 2),
    (ops.norm_linear, (r(4, 6, 8), norm(8), [(r(5, 8), None), (r(3, 8), r(3))]), 2),
    (ops.norm_linear, (r(4, 6, 8), norm(8), [(r(5, 8), None), (r(3, 8), r(3))], r(4, 6)), 2),
    (ops.transition, (r(4, 6, 8), norm(8), (r(16, 8), r(16)), (r(8, 16), r(8))), 2),
    (ops.gated_attention, (r(3, 4, 6, 64), r(16), 2, torch.ones(3, 4, 6), r(3, 2, 6, 6)), 2),
    (ops.global_attention, (r(4, 2, 8), r(4, 6, 8), r(4, 6, 8), torch.ones(4, 6)), 1),
    (ops.triangle_operands, (r(2, 4, 6, 8), norm(8), (r(24, 8), r(24)), r(2, 4, 6)), 3),
    (triangle_operand, (r(4, 6, 8), norm(8), (r(24, 8), None), 1, r(4, 6)), 2),
    (ops.triangle_update, (r(5, 4, 6), r(4, 6, 8), norm(5), (r(8, 5), r(8)), norm(8), (r(8, 8), r(8))), 2),
    (ops.outer_product_mean, (r(3, 4, 2), r(3, 6, 2), (r(5, 4), r(5)), r(4, 6).abs()), 2),
    (ops.dropout_add, (r(4, 6), r(4, 6), torch.tensor(1), 0.0, 0), 2),
]


@pytest.mark.parametrize(("function", "args", "count"), CASES, ids=[name_of(case[0]) for case in CASES])
def test_chunks_of_operands_give_the_chunk_of_the_result(
    function: Callable[..., Any], args: tuple[Any, ...], count: int
) -> None:
    whole = tensors(function(*args))
    given = tensors(args)
    numbers = iter(range(len(given)))
    refs = mapped(lambda leaf: Ref(next(numbers)) if isinstance(leaf, Tensor) else leaf, args)
    values = [*given, *whole]
    call = Call(function, refs, {}, tuple(range(len(given), len(values))))
    found = chunkings(call, lambda value: tuple(values[value].shape))
    assert len(found) == count
    for chunking in found:
        first, steps = 1, max(1, chunking.length // 2)
        cuts = iter(zip(given, chunking.operands, strict=True))

        def sliced(leaf: Any, cuts: Any = cuts, first: int = first, steps: int = steps) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            tensor, cut = next(cuts)
            return tensor.narrow(cut.dim, first * cut.step, steps * cut.step) if cut else tensor

        part, kwargs = mapped(sliced, args), {}
        if chunking.adapt:
            part, kwargs = chunking.adapt(part, {}, steps)
        for result, all_of_it, cut in zip(tensors(function(*part, **kwargs)), whole, chunking.results, strict=True):
            expected = all_of_it.narrow(cut.dim, first * cut.step, steps * cut.step)
            torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def test_a_dimension_that_is_mixed_is_not_chunked() -> None:
    qkv = r(4, 6, 8), r(4, 6, 8), r(4, 6, 8)
    lengths = {
        "softmax": [chunking.length for chunking in _chunkings(Tensor.softmax, r(4, 6, 3), -1)],
        "causal": [chunking.length for chunking in _chunkings(F.scaled_dot_product_attention, *qkv, None, 0.0, True)],
        "unknown": [chunking.length for chunking in _chunkings(torch.linalg.inv, torch.eye(4).expand(3, 4, 4))],
    }  # fmt: skip
    assert lengths == {"softmax": [4, 6], "causal": [4], "unknown": []}
    assert "inv" not in RULES


def _chunkings(function: Callable[..., Any], *args: Any) -> list[Any]:
    result, given = function(*args), tensors(args)
    numbers = iter(range(len(given)))
    refs = mapped(lambda leaf: Ref(next(numbers)) if isinstance(leaf, Tensor) else leaf, args)
    values = [*given, result]
    return chunkings(Call(function, refs, {}, (len(given),)), lambda value: tuple(values[value].shape))
