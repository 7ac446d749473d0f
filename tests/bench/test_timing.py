"""Which calls are timed."""

import pytest
import torch

from foldcli.bench import timing


@pytest.mark.parametrize(("device", "expected"), [("cpu", (9.0,)), ("cuda", (5.0,))])
def test_on_cuda_the_call_that_compiles_is_not_timed(
    device: str, expected: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "seconds", lambda call, device: 5.0)
    assert timing.warm_times(lambda: None, torch.device(device), 9.0).each == expected
