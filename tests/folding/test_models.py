"""Weights in any of the file layouts make the same model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from foldcli.errors import WeightsError
from foldcli.folding.models import load_model, resolve
from foldcli.weights.files import write_safetensors
from tests.weights.test_openfold import checkpoint


def test_every_layout_makes_the_same_model(tmp_path: Path) -> None:
    (untrained,) = resolve(["tiny"], "untrained", [])
    published, openfold = checkpoint(untrained.config.model, 2)
    np.savez(tmp_path / "tiny.npz", **published)
    torch.save(openfold, tmp_path / "tiny.pt")

    def load(name: str) -> dict[str, torch.Tensor]:
        (source,) = resolve(["tiny"], str(tmp_path / name), [])
        return load_model(source, torch.device("cpu"), torch.float32).state_dict()

    expected = load("tiny.npz")
    write_safetensors(tmp_path / "tiny.safetensors", expected, {})
    write_safetensors(tmp_path / "half.safetensors", {key: value.half() for key, value in expected.items()}, {})
    for name in ("tiny.pt", "tiny.safetensors"):
        found = load(name)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert all(value.dtype == torch.float32 for value in load("half.safetensors").values())

    write_safetensors(tmp_path / "less.safetensors", dict(list(expected.items())[1:]), {})
    with pytest.raises(WeightsError, match=r"less.safetensors: not the parameters of tiny: 1 differ"):
        load("less.safetensors")
