"""Torch's FLOP counter finds in every operator what it finds in the operator's plain body, forward and backward."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from foldcli_kernels.attention import gated_attention
from foldcli_kernels.global_attention import global_attention
from foldcli_kernels.norm_linear import norm_linear
from foldcli_kernels.outer_product import outer_product_mean
from foldcli_kernels.transition import transition
from foldcli_kernels.triangle_multiplication import triangle_operands, triangle_update
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from foldcli import ops
from foldcli.autochunk.graph import tensors


def leaf(*shape: int) -> Tensor:
    """A tensor without memory that wants a gradient."""
    return torch.empty(shape, device="meta", requires_grad=True)


def plain(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def norm(c: int) -> tuple[Tensor, Tensor]:
    return leaf(c), leaf(c)


def dense(out: int, c: int) -> tuple[Tensor, Tensor]:
    return leaf(out, c), leaf(out)


# Arguments for any length n, other length s, channels c and further channels e.
Arguments = Callable[[int, int, int, int], tuple[Any, ...]]
CASES: dict[str, tuple[Callable[..., Any], Arguments]] = {
    "gated_attention": (
        gated_attention,
        lambda n, s, c, e: (leaf(s, n, 4 * e * 8), leaf(e * 8), e, plain(s, n), leaf(e, n, n)),
    ),
    "global_attention": (
        global_attention,
        lambda n, s, c, e: (leaf(n, e, 8), leaf(n, s, 8), leaf(n, s, 8), plain(n, s)),
    ),
    "norm_linear": (norm_linear, lambda n, s, c, e: (leaf(s, n, c), norm(c), [dense(e, c), dense(3, c), dense(7, c)])),
    "transition": (transition, lambda n, s, c, e: (leaf(s, n, c), norm(c), dense(e * c, c), dense(c, e * c))),
    "outer_product_mean": (
        outer_product_mean,
        lambda n, s, c, e: (leaf(s, n, c), leaf(s, n + 1, e), dense(5, c * e), plain(n, n + 1)),
    ),
    "triangle_operands": (
        triangle_operands,
        lambda n, s, c, e: (leaf(n, s, c), norm(c), dense(4 * e, c), plain(n, s)),
    ),
    "triangle_update": (
        triangle_update,
        lambda n, s, c, e: (leaf(e, n, s), leaf(n, s, c), norm(e), dense(c, e), norm(c), dense(c, c)),
    ),
}


def counted(function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[int, int]:
    """FLOPs of the forward pass, and of the backward pass."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        results = tensors(function(*arguments))
        forward = counter.get_total_flops()
        torch.autograd.backward(results, [torch.empty_like(result) for result in results])
    return forward, counter.get_total_flops() - forward


@pytest.mark.parametrize("operation", CASES)
@settings(max_examples=5, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(2, 9), st.integers(2, 4))
def test_an_operator_counts_as_its_body_does(operation: str, n: int, s: int, c: int, e: int) -> None:
    kernel, arguments = CASES[operation]
    body = getattr(ops, operation).__wrapped__
    forward, backward = counted(kernel, arguments(n, s, c, e))
    assert forward > 0
    assert (forward, backward) == counted(body, arguments(n, s, c, e))
