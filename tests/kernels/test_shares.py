"""Sums over programs: any number of tensors and parts, in both tiles, each time in the same order."""

import pytest
import torch
from foldcli_kernels.shares import add_shares, sections

SHAPES = {
    "few parts": [(3, 40), (16, 2, 300)],
    "many parts": [(300, 2, 5), (1, 70)],
    "five, two of them empty": [(70, 33), (70, 0), (2, 1), (5, 0), (9, 64)],
    "no parts": [(0, 7)],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", SHAPES)
def test_adds_each_over_its_parts(name: str, dtype: torch.dtype) -> None:
    shares = [torch.randn(shape) for shape in SHAPES[name]]
    flat = add_shares(shares, dtype)
    assert flat.dtype == dtype
    assert torch.equal(flat, add_shares(shares, dtype))
    for found, share in zip(sections(flat, [x.shape[1:] for x in shares]), shares, strict=True):
        torch.testing.assert_close(found, share.sum(0).to(dtype), atol=1e-4, rtol=1e-3)
