"""Attention's body, where keys are masked."""

import pytest
import torch

from foldcli.ops import attention, gated_attention


def test_rows_taken_some_at_a_time_attend_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
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
    torch.testing.assert_close(gated_attention(packed, gate, 2, mask, bias), at_once)
    assert calls == [2, 2, 2, 1]
