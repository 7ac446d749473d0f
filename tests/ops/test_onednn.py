"""Matrix products by oneDNN equal torch's, for any memory layout."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from foldcli.ops import onednn
from tests.autochunk.measure import measured_peak

LAYOUTS = {
    "rows": lambda x: x,
    "columns": lambda x: x.transpose(-1, -2).contiguous().transpose(-1, -2),
    "part of rows": lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]],
    "every second": lambda x: torch.stack([x, x], -1).flatten(-2)[..., ::2],
    "one for all": lambda x: x[..., :1, :].expand_as(x),
}
SIZES = [(200, 70, 130), (3, 64, 64 * 64 * 4), (1, 1024, 512), (0, 5, 3), (7, 0, 9), (8, 8, 8)]


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> onednn.OnednnMatmuls:
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.library, "get_kernel"):
        pytest.skip("torch without oneDNN")
    monkeypatch.setattr(onednn, "MIN_WORK_IN_BATCH", onednn.MIN_WORK)
    products = onednn.OnednnMatmuls()
    linear = products.linear

    def fast(x: torch.Tensor, weight: torch.Tensor, *others: object) -> torch.Tensor:
        assert weight.is_contiguous() or weight.t().is_contiguous(), "oneDNN has only slow reference code for it"
        return linear(x, weight, *others)

    monkeypatch.setattr(products, "linear", fast)
    return products


@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
def test_products_in_any_layout(products: onednn.OnednnMatmuls, left: str, right: str) -> None:
    dtypes = [torch.float32, torch.bfloat16] if onednn.onednn_uses_avx512() else [torch.float32]
    for (m, k, n), dtype in itertools.product(SIZES, dtypes):
        a, b = LAYOUTS[left](torch.randn(2, m, k, dtype=dtype)), LAYOUTS[right](torch.randn(2, k, n, dtype=dtype))
        bias = torch.randn(n, dtype=dtype)
        exact = a.double() @ b.double()
        found = products.bmm(a, b), products.mm(a[0], b[0]), products.addmm(bias, a[0], b[0])
        for one, other in zip(found, (exact, exact[0], exact[0] + bias.double()), strict=True):
            torch.testing.assert_close(one, other.to(dtype), rtol=0, atol=1e-3 if dtype == torch.float32 else 1.0)


def test_installed_products_have_gradients_and_leave_other_uses_alone(products: onednn.OnednnMatmuls) -> None:
    products.install()  # a second time, on machines where importing ops has done it
    x, weight = torch.randn(5, 99, 64, requires_grad=True), torch.randn(300, 64, requires_grad=True)
    F.linear(x, weight).square().sum().backward()
    out = x.detach().double() @ weight.detach().double().T
    torch.testing.assert_close(x.grad, (2 * out @ weight.detach().double()).float(), rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(
        weight.grad, torch.einsum("bno,bni->oi", 2 * out, x.detach().double()).float(), rtol=1e-4, atol=1e-1
    )
    bias, a, b = torch.randn(99, 300), torch.randn(99, 64), torch.randn(64, 300)
    torch.testing.assert_close(torch.addmm(bias, a, b, beta=2, alpha=3), 2 * bias + 3 * (a @ b), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 3], ids=["mm", "bmm of one", "bmm"])
@pytest.mark.parametrize("left", ["rows", "columns", "part of rows"])
@pytest.mark.parametrize("columns", [1024, 3072])
def test_workspace_of_a_product_is_predicted(
    products: onednn.OnednnMatmuls, columns: int, left: str, count: int
) -> None:
    a, b = LAYOUTS[left](torch.randn(count or 1, 2048, 512)), torch.randn(count or 1, 512, columns)
    a, b, product = (a, b, products.bmm) if count else (a[0], b[0], products.mm)
    result, peak = measured_peak(lambda: product(a, b))
    workspace = onednn.workspace_bytes(a, b)
    assert workspace is not None and abs(peak - result.nbytes - workspace) < 1 << 20  # oneDNN reorders some of b
