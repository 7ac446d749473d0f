"""Training by CUDA graphs equals plain training; torch's graphs are replaced by ones that repeat work on a CPU."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from foldcli.data.training.micro_batch import MicroBatches
from foldcli.data.training.open_source import open_source
from foldcli.data.training.sample import Sample
from foldcli.parallel.mesh import RankMesh
from foldcli.search.homologs import with_homologs
from foldcli.training import graphs
from foldcli.training.begin import new_model
from foldcli.training.graphs import StepGraphs
from foldcli.training.learner import Learner, Step
from tests.training.conftest import small


class Graph(TorchDispatchMode):
    """What torch.cuda.CUDAGraph does, on CPU tensors: repeats each operation and writes where its results were.

    Capturing changes nothing, as on a GPU: what was written in place is put back, and random numbers are drawn again.
    """

    made: ClassVar[list["Graph"]] = []

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Any] = []
        self.before: list[tuple[Tensor, Tensor]] = []
        self.replays = 0
        Graph.made.append(self)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for argument, value in zip(function._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.before += [(tensor, tensor.clone()) for tensor in _tensors(value)]
        out = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for function, args, kwargs, out in self.calls:
            found = function(*args, **kwargs)
            for to, new in zip(_tensors(out), _tensors(found), strict=True):
                if to.data_ptr() != new.data_ptr():
                    to.copy_(new)


def _tensors(out: Any) -> list[Tensor]:
    return [x for x in (out if isinstance(out, list | tuple) else [out]) if isinstance(x, Tensor)]


@contextlib.contextmanager
def capture(graph: Graph, pool: object, capture_error_mode: str) -> Iterator[None]:
    random = torch.get_rng_state()
    with graph:
        yield
    torch.set_rng_state(random)
    with torch.no_grad():
        for tensor, value in reversed(graph.before):
            tensor.copy_(value)


@pytest.fixture(autouse=True)
def _on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    Graph.made.clear()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)


def learnt(steps: int, captured: bool) -> tuple[Learner, list[Step]]:
    """Train on batches of two micro-batches with no recycling pass or one, in an order of their own."""
    config = small("sample.max_recycle=1", "batch_size=4", "micro_batch=2")
    source = with_homologs(open_source(config.train), config.train)
    draw = MicroBatches(source, config)
    torch.manual_seed(0)
    learner = Learner(new_model(config, torch.device("cpu"), RankMesh()), config, RankMesh())
    learner.graphs = StepGraphs(captured)
    return learner, [learner.learn([_sample(draw, (number, place)) for place in range(2)]) for number in range(steps)]


def _sample(draw: MicroBatches, place: tuple[int, int]) -> Sample:
    sample = draw(place).sample
    assert sample is not None
    return sample


def test_captured_steps_are_the_plain_ones_to_the_bit() -> None:
    plain, expected = learnt(5, captured=False)
    assert not Graph.made
    learner, found = learnt(5, captured=True)
    assert found == expected
    assert all(torch.equal(value, learner.state()[name]) for name, value in plain.state().items())
    # gradients with one pass and with two, and the update
    assert len(Graph.made) == 3
    assert sum(graph.replays for graph in Graph.made) == 2 * 5 + 5 - 3


def test_shapes_that_vary_are_said_once_and_run_plain(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(graphs, "MOST", 2)
    made = StepGraphs(usable=True)
    with caplog.at_level(logging.WARNING):
        for n in (1, 1, 2, 3, 4, 1):
            assert made.run("sum", torch.sum, torch.ones(n)) == n
    assert [record.message for record in caplog.records] == [
        "kernels are launched one by one: no CUDA graph of a training step: samples have more than 2 shapes"
    ]
    assert len(Graph.made) == 1


def test_failed_capture_runs_plain(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(torch.cuda, "graph", refused)
    made = StepGraphs(usable=True)
    with caplog.at_level(logging.WARNING):
        assert [made.run("sum", torch.sum, torch.full((2,), float(n))) for n in range(4)] == [0, 2, 4, 6]
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == [
        "operation not permitted when stream is capturing"
    ]
