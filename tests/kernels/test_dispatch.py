"""Whether body or kernel runs, what is said of a kernel that is asked for and cannot, and that tracing works."""

import importlib.util
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import triton
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli import ops
from foldcli.bench.gpu.cases import CASES, Draw, Sizes
from foldcli.errors import FoldcliError, InputError
from foldcli.ops import backend, dispatch
from foldcli.ops.dispatch import SHARED_MEMORY, dispatched


def _odd(x: Tensor, factor: float = 1.0) -> str:
    return f"width {x.shape[-1]} is odd" if x.shape[-1] % 2 else ""


@dispatched("tests.kernels.test_dispatch:kernel", _odd)
def scaled(x: Tensor, factor: float = 1.0) -> Tensor:
    return x * factor


@torch.library.custom_op("foldcli_test::kernel", mutates_args=())
def operator(x: Tensor, factor: float) -> Tensor:
    return x * factor + 100


@operator.register_fake
def _(x: Tensor, factor: float) -> Tensor:
    return torch.empty_like(x)


def kernel(x: Tensor, factor: float = 1.0) -> Tensor:
    """A kernel whose result differs from the body's, to tell which one ran."""
    return operator(x, factor)


@dispatched("tests.kernels.absent:kernel")
def without_kernel(x: Tensor) -> Tensor:
    return x


X = torch.arange(8.0).view(2, 4)


def test_body_runs_on_the_cpu_unless_the_kernel_is_forced() -> None:
    with backend("auto"):
        assert torch.equal(scaled(X, 2.0), X * 2)
    with backend("triton"):
        assert torch.equal(scaled(X, 2.0), X * 2 + 100)
        assert torch.equal(scaled(x=X, factor=2.0), X * 2 + 100)
        with backend("reference"):
            assert torch.equal(scaled(X, 2.0), X * 2)
        assert torch.equal(scaled(X), X + 100)


@pytest.mark.parametrize(("named", "kept"), [("", "home/kernels"), ("own", "own")])
def test_compiled_kernels_are_kept_where_the_user_says_or_in_the_cache_folder(
    named: str, kept: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FOLDCLI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / named))
    if not named:
        monkeypatch.delenv("TRITON_CACHE_DIR")
    dispatch.LazyKernel("scaled", "tests.kernels.test_dispatch:kernel").load()
    assert triton.knobs.cache.dir == str(tmp_path / kept)


@pytest.mark.parametrize(
    ("x", "why"),
    [
        (X.double(), "scaled cannot run: float64"),
        (X.to("meta"), "tensors on meta, and kernels need cuda"),
        (X[:, :3], "width 3 is odd"),
    ],
)
def test_forced_kernel_says_why_it_cannot_run(x: Tensor, why: str) -> None:
    with backend("triton"), pytest.raises(FoldcliError, match=why):
        scaled(x)


@pytest.mark.parametrize("operation", ["operands of the triangle product", "update by the triangle product"])
def test_triangles_of_more_channels_than_tiles_hold(operation: str) -> None:
    work = CASES[operation](Draw(torch.device("cpu"), torch.float32), Sizes(r=2, s=1, c_z=129))
    with backend("triton"), pytest.raises(FoldcliError, match="129 channels, and its kernel takes at most 128"):
        work.run()


@pytest.mark.parametrize("operation", ["transition of pairs", "layer norm and projections of pairs"])
def test_rows_of_more_channels_than_tiles_hold(operation: str) -> None:
    work = CASES[operation](Draw(torch.device("cpu"), torch.float32), Sizes(r=2, s=1, c_z=513))
    with backend("triton"), pytest.raises(FoldcliError, match="513 channels, and its kernel takes at most 512"):
        work.run()


def test_heads_and_outer_products_that_tiles_do_not_hold() -> None:
    draw = Draw(torch.device("cpu"), torch.float32)
    with backend("triton"):
        with pytest.raises(FoldcliError, match="head dim 12 is none of 8, 16, 32, 64"):
            CASES["attention of triangles"](draw, Sizes(r=2, s=1, c_z=48)).run()
        with pytest.raises(FoldcliError, match="64 channels, and its kernel takes at most 32"):
            CASES["outer product mean"](draw, Sizes(r=2, s=1, c_outer=64)).run()


def test_forced_kernel_needs_cuda_or_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")
    with backend("triton"), pytest.raises(FoldcliError, match="tensors on cpu, and kernels need cuda"):
        scaled(X)


def test_forced_kernel_names_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with backend("triton"), pytest.raises(FoldcliError, match=r"tests\.kernels\.absent is not installed"):
        without_kernel(X)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with backend("triton"), pytest.raises(FoldcliError, match="triton is not installed"):
        scaled(X)


def _device(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], shared: int = SHARED_MEMORY) -> None:
    """Pretend that the machine has a card."""
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    major, minor = capability
    card = SimpleNamespace(major=major, minor=minor, name="Card", shared_memory_per_block_optin=shared)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)


def _runs_kernel() -> bool:
    """Trace with a fake CUDA tensor, and say whether the kernel's operator is in the graph."""
    with FakeTensorMode():
        x = torch.empty(2, 4, device="cuda")
    traced = torch.fx.experimental.proxy_tensor.make_fx(lambda x: scaled(x, 2.0))(x)
    return any("kernel" in str(node.target) for node in traced.graph.nodes)


def test_kernel_is_chosen_on_a_card_that_suits(monkeypatch: pytest.MonkeyPatch) -> None:
    _device(monkeypatch, (8, 0))
    assert _runs_kernel()
    with backend("reference"):
        assert not _runs_kernel()


@pytest.mark.parametrize(
    ("capability", "shared", "why"),
    [((7, 5), SHARED_MEMORY, "Card has compute capability 7.5"), ((8, 9), 101376, "Card has 99 KB of shared memory")],
)
def test_automatic_kernel_falls_back_with_one_line(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capability: tuple[int, int],
    shared: int,
    why: str,
) -> None:
    _device(monkeypatch, capability, shared)
    with caplog.at_level(logging.WARNING):
        assert not _runs_kernel()
        assert not _runs_kernel()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"scaled runs as plain PyTorch: {why}")


def test_interpreter_is_never_chosen_automatically(monkeypatch: pytest.MonkeyPatch) -> None:
    _device(monkeypatch, (9, 0))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert not _runs_kernel()


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(InputError, match="no backend 'cuda'"), backend("cuda"):
        pass


def _unhooked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load the dispatcher again, without the tests' run-time type checks, which are slow and cannot be traced."""
    spec = importlib.util.spec_from_file_location("unhooked_dispatch", dispatch.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("value", "expected"), [("", X), ("auto", X), ("reference", X), ("triton", X + 100)])
def test_environment_chooses_a_backend(monkeypatch: pytest.MonkeyPatch, value: str, expected: Tensor) -> None:
    monkeypatch.setenv("FOLDCLI_BACKEND", value)
    operation = _unhooked(monkeypatch).dispatched("tests.kernels.test_dispatch:kernel")(lambda x: x)
    assert torch.equal(operation(X), expected)


def test_environment_with_an_unknown_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDCLI_BACKEND", "tritn")
    operation = _unhooked(monkeypatch).dispatched("tests.kernels.test_dispatch:kernel")(_identity)
    with pytest.raises(InputError, match=r"no backend 'tritn' \(FOLDCLI_BACKEND\); there are auto, reference, triton"):
        operation(X)


def test_dispatch_takes_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of time, which depends on the machine: a call of Python takes 0.1 microseconds and less."""
    wrapped = _unhooked(monkeypatch).dispatched("tests.kernels.test_dispatch:kernel")(_identity)
    wrapped(X)  # what only the first call does
    assert _calls(lambda: wrapped(X)) - _calls(lambda: _identity(X)) <= 3


def _identity(x: Tensor) -> Tensor:
    return x


def _calls(function: Callable[[], object]) -> int:
    """Count the functions that are called, those written in C too."""
    events: list[str] = []
    sys.setprofile(lambda frame, event, argument: events.append(event))
    try:
        function()
    finally:
        sys.setprofile(None)
    return sum(event in ("call", "c_call") for event in events)


@pytest.mark.parametrize("choice", ["auto", "triton"])
def test_compiler_traces_through_without_a_break(monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    plain = _unhooked(monkeypatch)
    operation = plain.dispatched("tests.kernels.test_dispatch:kernel", _odd)(lambda x: x + 1)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: operation(x.relu()), backend="eager", fullgraph=True)
    with plain.backend(choice):
        assert torch.equal(compiled(X), X + (100 if choice == "triton" else 1))


def test_compiled_code_follows_a_change_of_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _unhooked(monkeypatch)
    torch._dynamo.reset()
    operation = plain.dispatched("tests.kernels.test_dispatch:kernel")(lambda x: x + 1)
    compiled = torch.compile(operation, backend="eager", fullgraph=True)
    for choice, added in [("reference", 1), ("triton", 100), ("reference", 1)]:
        with plain.backend(choice):
            assert torch.equal(compiled(X), X + added)


EXPORT = """
import sys
import torch
from foldcli import ops

assert not {"triton", "torch._dynamo"} & sys.modules.keys(), "an import that costs seconds"

class Norm(torch.nn.Module):
    def forward(self, x):
        return ops.layer_norm(x, (torch.ones(4), torch.zeros(4)))

x = torch.randn(3, 4)
for strict in (False, True):
    exported = torch.export.export(Norm(), (x,), strict=strict).module()
    torch.testing.assert_close(exported(x), Norm()(x))
"""


def test_operations_import_without_a_compiler_and_export() -> None:
    # In another process, since in this one the compilers are imported and the bodies type-checked at run time.
    done = subprocess.run([sys.executable, "-c", EXPORT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_operations_run_on_fake_tensors() -> None:
    with FakeTensorMode():
        out = ops.triangle_product(torch.empty(3, 5, 7), torch.empty(3, 6, 7))
        normed = ops.layer_norm(torch.empty(5, 8), (torch.empty(8), torch.empty(8)))
    assert out.shape == (3, 5, 6)
    assert normed.shape == (5, 8)
