"""Layer norm against its body: widths, strides, precisions, gradients, and versions that must be rejected."""

from collections.abc import Callable

import pytest
import torch
from foldcli_kernels.layer_norm import backward, forward, launch, layer_norm, statistics
from foldcli_kernels.tensors import share_rows
from foldcli_kernels.tuning import forced
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.ops import dense
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


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, mean: float = 0.5) -> list[Tensor]:
    """Return x, scale and offset: the same numbers in every precision."""
    generator = torch.Generator().manual_seed(0)
    x, scale, offset = (torch.randn(size, generator=generator) for size in (shape, shape[-1:], shape[-1:]))
    return [(x + mean).to(dtype), (1 + 0.3 * scale).to(dtype), offset.to(dtype)]


def kernel(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    return layer_norm(x, (scale, offset))


def body(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], scale, offset, dense.LAYER_NORM_EPS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 16), (7, 64), (65, 128), (2, 3, 5, 256), (3, 384), (4, 512), (13, 100)])
def test_agrees_with_body(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    assert_agrees(kernel, body, inputs(shape, dtype))


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "columns": lambda x: x.transpose(-2, -3),
    "sliced": lambda x: x[:, 1:, ::2],
    "channels first": lambda x: x.movedim(-3, -1),
    "one row for all": lambda x: x[:, :1].expand(-1, 4, -1, -1),
    "wider rows": lambda x: x[..., 8:24],
    "axes reversed and sliced": lambda x: x[:, 1:, 1:].permute(2, 1, 0, 3),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_reads_views(view: str, dtype: torch.dtype) -> None:
    x = VIEWS[view](inputs((2, 5, 6, 32), dtype)[0])
    assert_agrees(kernel, body, [x, *inputs(tuple(x.shape), dtype)[1:]])


def test_result_and_gradient_keep_the_memory_order() -> None:
    x, scale, offset = inputs((2, 5, 7, 32))
    found = outcome(kernel, [x.transpose(1, 2), scale, offset])
    assert found["result 0"].stride() == x.transpose(1, 2).stride()
    assert found["gradient of input 0"].stride() == x.transpose(1, 2).stride()


def test_transposed_view_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    x, scale, offset = inputs((3, 5, 32))
    seen = []
    monkeypatch.setattr(launch, "share_rows", lambda *tensors: seen.append(share_rows(*tensors)) or seen[-1])
    kernel(x.transpose(0, 1), scale, offset)
    ((read,), rows) = seen[0]
    assert read.data_ptr() == x.data_ptr()
    assert (rows.count, rows.middle, rows.inner) == (15, 1, 1)


def test_mean_far_from_zero_keeps_precision() -> None:
    assert_agrees(kernel, body, inputs((9, 128), mean=300.0))


def test_no_rows() -> None:
    found = outcome(kernel, inputs((0, 32)))
    assert found["result 0"].shape == (0, 32)
    assert torch.equal(found["gradient of input 1"], torch.zeros(32))


def test_gradients_of_parameters_do_not_depend_on_the_run() -> None:
    tensors = inputs((100, 32), torch.bfloat16)
    with forced("layer_norm_backward", {"elements": 128, "programs": 7}):
        first, second = outcome(kernel, tensors), outcome(kernel, tensors)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("programs", [1, 3, 50])
def test_rows_are_shared_among_any_number_of_programs(programs: int) -> None:
    with forced("layer_norm_backward", {"elements": 64, "programs": programs}):
        assert_agrees(kernel, body, inputs((37, 32)))


def test_operator() -> None:
    for x in (inputs((2, 3, 16))[0], inputs((2, 3, 16))[0].transpose(0, 1)):
        leaves = tuple(t.detach().requires_grad_() for t in (x, *inputs((16,))[1:]))
        opcheck(torch.ops.foldcli.layer_norm.default, leaves)
        opcheck(torch.ops.foldcli.layer_norm_backward.default, (x, x, leaves[1].detach()))


def test_traces_without_running() -> None:
    with FakeTensorMode() as mode:
        x, scale, offset = (mode.from_tensor(t.requires_grad_()) for t in inputs((5, 3, 32)))
        result = kernel(x.transpose(0, 1), scale, offset)
        result.sum().backward()
    assert result.stride() == (32, 96, 1)
    assert x.grad is not None


def test_checkpointed_gradients_are_the_same() -> None:
    tensors = inputs((6, 32))
    again = outcome(lambda *t: torch.utils.checkpoint.checkpoint(kernel, *t, use_reentrant=False), tensors)
    assert all(torch.equal(value, again[name]) for name, value in outcome(kernel, tensors).items())


FORWARD, BACKWARD = (forward, "layer_norm_forward"), (backward, "layer_norm_backward")
BROKEN = {
    "offset left out": (FORWARD, " + shift[None, :]", "", "result 0"),
    "rows of the last block left out": (FORWARD, "row < rows", "row + 1 < rows", "result 0"),
    "channel stride ignored": (FORWARD, "channel * x_channel", "channel", "result 0"),
    "scale left out": (BACKWARD, "incoming * factor[None, :]", "incoming", "gradient of input 0"),
    "later blocks left out": (BACKWARD, "grad_scale += ", "grad_scale = ", "gradient of input 1"),
    "standardised left out": (BACKWARD, "+= incoming * standard", "+= incoming", "gradient of input 1"),
    "lost blocks": (BACKWARD, "tl.num_programs(0)", "2 * tl.num_programs(0)", "gradient of input 2"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_broken_kernel_is_rejected(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    (module, function), old, new, wrong = BROKEN[name]
    x = inputs((3, 32, 7), dtype)[0]
    with forced("layer_norm_backward", {"elements": 64, "programs": 2}):
        tensors = [x.movedim(1, -1), *inputs((32,), dtype)[1:]]
        assert not rejected(kernel, body, tensors)
        break_kernel(monkeypatch, module, function, old, new)
        assert wrong in rejected(kernel, body, tensors)


@pytest.mark.parametrize("left_out", [" - mean[:, None]", " - standard * along[:, None]", "[:, None]) * reciprocal"])
def test_broken_statistics_are_rejected(left_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = "[:, None]) + 0 * reciprocal" if "reciprocal" in left_out else ""
    break_kernel(monkeypatch, statistics, "standardise_backward", left_out, kept)
    assert rejected(kernel, body, inputs((9, 32))) == {"gradient of input 0"}
