"""When stacks run through CUDA graphs, and that results are theirs; torch's graphs are replaced by ones for a CPU."""

import contextlib
import gc
import logging
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from foldcli.compose import model_config
from foldcli.data.query import Query
from foldcli.folding import graphs, memory, placement, whole
from foldcli.folding.fused_blocks import FusedStack, fused_copy
from foldcli.folding.graphs import StackGraphs
from foldcli.folding.job import Job
from foldcli.folding.models import resolve
from foldcli.folding.placement import MemoryPlacement
from foldcli.model.alphafold import AlphaFold
from foldcli.model.evoformer import EvoformerStack
from foldcli.parallel.mesh import RankGroup

BYTES = 1000  # that each capture takes


class Graph(TorchDispatchMode):
    """What torch.cuda.CUDAGraph does, on CPU tensors: repeats each operation and writes where its results were."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        for function, args, kwargs, out in self.calls:
            found = function(*args, **kwargs)
            for to, new in zip(_tensors(out), _tensors(found), strict=True):
                to.copy_(new)


def _tensors(out: Any) -> list[Tensor]:
    return [x for x in (out if isinstance(out, list | tuple) else [out]) if isinstance(x, Tensor)]


@dataclass
class Device:
    """A GPU's memory, the pools of its captures, and whether capturing fails."""

    reserved: int = 0
    pools: list[object] = field(default_factory=list)
    error: str = ""

    @contextlib.contextmanager
    def graph(self, graph: Graph, pool: object, capture_error_mode: str) -> Iterator[None]:
        self.pools.append(pool)
        self.reserved += BYTES
        if self.error:
            raise RuntimeError(self.error)
        with graph:
            yield


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", made.graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: made.reserved)
    return made


def stack() -> nn.Module:
    config = model_config("tiny")
    torch.manual_seed(0)
    return EvoformerStack(replace(config.evoformer, blocks=1), config.c_z).eval().requires_grad_(False)


def inputs(n: int, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    config = model_config("tiny")
    m, z = (torch.randn(*shape, generator=generator) for shape in ((3, n, config.evoformer.c_m), (n, n, config.c_z)))
    return [m, z, torch.ones(3, n), torch.ones(n, n)]


def graphed(plain: nn.Module, size: object = "first") -> tuple[StackGraphs, nn.Module]:
    made = StackGraphs(torch.device("cpu"))
    made.keep_for(size)
    made.allow(BYTES, 10 * BYTES)
    return made, made.wrap(fused_copy(plain))


@torch.inference_mode()
def agrees(plain: nn.Module, run: nn.Module, n: int, seed: int) -> bool:
    given = inputs(n, seed)
    return all(torch.allclose(x, y, atol=1e-5) for x, y in zip(run(*given), plain(*given), strict=True))


def test_second_call_is_captured_and_replayed_for_other_inputs(device: Device) -> None:
    plain = stack()
    made, run = graphed(plain)
    for seed in range(4):
        assert agrees(plain, run, 5, seed)
        assert len(device.pools) == min(seed, 1)
    assert made.held == BYTES


def test_shapes_and_stacks_have_graphs_of_their_own_in_one_pool(device: Device) -> None:
    plain, other = stack(), stack()
    other.blocks[0].pair_transition.contract.bias.data += 1
    made, run = graphed(plain)
    second = made.wrap(fused_copy(other))
    for seed in range(3):
        assert agrees(plain, run, 5, seed)
        assert agrees(plain, run, 6, seed)
        assert agrees(other, second, 5, seed)
    assert len(device.pools) == 3
    assert len(set(map(id, device.pools))) == 1


def test_graphs_of_another_size_are_freed(device: Device) -> None:
    plain = stack()
    made, run = graphed(plain)
    for seed in range(2):
        agrees(plain, run, 5, seed)
    (captured,) = made.captured.values()
    graph = weakref.ref(captured.graph)
    del captured
    made.keep_for("first")
    assert made.captured
    made.keep_for("second")
    gc.collect()
    assert graph() is None
    assert made.held == 0
    assert agrees(plain, run, 5, 3)


def test_no_more_is_captured_than_memory_allows(device: Device) -> None:
    plain = stack()
    made, run = graphed(plain)
    made.allow(BYTES, 1.5 * BYTES)
    for seed in range(3):
        assert agrees(plain, run, 5, seed)
        assert agrees(plain, run, 6, seed)
    assert len(device.pools) == 1


def test_long_proteins_are_not_captured(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "LONGEST", 4)
    plain = stack()
    _, run = graphed(plain)
    assert all(agrees(plain, run, 5, seed) for seed in range(3))
    assert not device.pools


def test_failed_capture_is_said_once_and_not_tried_again(device: Device, caplog: pytest.LogCaptureFixture) -> None:
    plain = stack()
    made, run = graphed(plain)
    device.error = "operation not permitted when stream is capturing"
    with caplog.at_level(logging.WARNING):
        assert all(agrees(plain, run, n, seed) for seed in range(3) for n in (5, 6))
    made.keep_for("second")
    assert agrees(plain, run, 5, 0)
    assert [record.message for record in caplog.records] == [
        "kernels are launched one by one: no CUDA graph could be captured: " + device.error
    ]
    assert len(device.pools) == 1


def place(monkeypatch: pytest.MonkeyPatch, free: int, kind: str, precision: torch.dtype) -> tuple[Any, MemoryPlacement]:
    """Place a job of 5 residues in so much free memory; return the model to fold it with."""
    for module in (memory, whole):
        monkeypatch.setattr(module, "available_bytes", lambda _: free)
    sources = resolve(["tiny"], "untrained", [])
    where = MemoryPlacement(sources, torch.device(kind), precision, RankGroup())
    with torch.device("meta"):
        model = AlphaFold(sources[0].config.model)
    job = Job(Query("a", "a", "MKVLA", "here"), "")
    return where.place(job, RankGroup(), {"tiny": model})["tiny"], where


def stacks(model: nn.Module) -> set[type[nn.Module]]:
    return {type(module) for module in model.modules() if isinstance(module, EvoformerStack)}


def test_jobs_whole_on_a_gpu_in_half_precision_run_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    need = memory.predicted_bytes(model_config("tiny"), 5, 1, 2)
    model, where = place(monkeypatch, 5 * need, "cuda", torch.bfloat16)
    assert stacks(model) == {FusedStack}
    assert where.whole_models.graphs.needed == pytest.approx(need, rel=0.01)
    assert where.whole_models.graphs.allowed == pytest.approx(4 * need, rel=0.01)
    for kind, precision in (("cpu", torch.bfloat16), ("cuda", torch.float32)):
        model, _ = place(monkeypatch, 5 * need, kind, precision)
        assert stacks(model) == {EvoformerStack}


def test_jobs_in_chunks_run_the_plain_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement.ChunkedModels, "fit", lambda self, models, *_: models)
    model, where = place(monkeypatch, 1, "cuda", torch.bfloat16)
    assert where.in_chunks
    assert stacks(model) == {EvoformerStack}
