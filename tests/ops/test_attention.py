"""Attention's body, where keys are masked."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.ops import attention, backend, gated_attention


@pytest.mark.parametrize("gradients", [False, True])
def test_rows_taken_some_at_a_time_attend_as_all_at_once(gradients: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    packed, gate, mask = torch.randn(7, 5, 64), torch.randn(16), (torch.rand(7, 5) < 0.7).float()
    bias = torch.randn(2, 5, 5)
    at_once = gated_attention(packed, gate, 2, mask, bias)
    calls, additive = [], attention._additive

    def counted(keys: torch.Tensor, *others: torch.Tensor) -> torch.Tensor | None:
        calls.append(len(keys))
        return additive(keys, *others)

    monkeypatch.setattr(attention, "_additive", counted)
    monkeypatch.setattr(attention, "MAX_SUM_BYTES", 2 * 2 * 5 * 5 * 4)  # two rows
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(gated_attention(packed, gate, 2, mask, bias), at_once)
    assert calls == [2, 2, 2, 1]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_plan_takes_all_rows_at_once(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, additive = [], attention._additive
    monkeypatch.setattr(attention, "_additive", lambda *args: calls.append(args) or additive(*args))
    n, heads, dim = 5000, 4, 8  # every row's sum of bias and mask is larger than MAX_SUM_BYTES
    with FakeTensorMode(), backend("reference"):
        packed = torch.empty(n, n, 4 * heads * dim, device=device, dtype=torch.bfloat16)
        gate, mask, bias = (packed.new_empty(shape) for shape in ((heads * dim,), (n, n), (heads, n, n)))
        gated_attention(packed, gate, heads, mask, bias)
    assert len(calls) == 1
