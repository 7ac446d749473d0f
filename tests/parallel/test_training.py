"""Training a sharded model: dropout as on one device, recomputed blocks, gradients averaged over samples."""

from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from foldcli.parallel import gradients
from foldcli.parallel.gradients import average_over_data, whole_gradients
from foldcli.parallel.mesh import RankMesh, build_mesh
from foldcli.parallel.shard import gather_output, shard
from foldcli.training.recompute import recompute_blocks
from tests.parallel.rank_pool import RankPool
from tests.parallel.samples import features, small_model
from tests.parallel.test_shard import TOLERANCE, loss

# Divisible by the ranks, so without padding: dropout then draws the very numbers that one device draws.
SHAPE = {"length": 8, "depth": 4, "extra": 4, "templates": 2}


class Sent(TorchDispatchMode):
    """Names of collectives in the order in which they are started."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "_c10d_functional" and func._opname != "wait_tensor":
            self.names.append(func._opname)
        return func(*args, **(kwargs or {}))


def step(seed: int, mesh: RankMesh | None) -> list[torch.Tensor]:
    """The gradient of one training sample with dropout; sharded, and with blocks recomputed, if there is a mesh."""
    torch.manual_seed(seed)
    model = small_model().train()
    if mesh is not None:
        recompute_blocks(shard(model, mesh.axial))
    sample = features(**SHAPE, seed=seed)
    output = gather_output(model(sample))
    return whole_gradients(loss(output, sample.seq_mask), list(model.parameters()), mesh or RankMesh())


def worst_of_two_samples() -> float:
    """Largest difference of 2 x 2 ranks (data x axial) from the mean gradient of two samples on one.

    AssertionError unless sums of gradients were sent in several parts, among what the backward pass itself sends.
    """
    mesh = build_mesh("cpu", 2)
    with patch.object(gradients, "BUCKET", 1 << 14), Sent() as sent:
        found = step(mesh.data.rank, mesh)
        average_over_data(found, mesh)
    of_backward = len(sent.names) - sent.names[::-1].index("all_to_all_single")
    assert sent.names[:of_backward].count("all_reduce_") > 3
    expected = [(a + b) / 2 for a, b in zip(step(0, None), step(1, None), strict=True)]
    return max(float((a - b).abs().max() / (1 + b.abs().max())) for a, b in zip(found, expected, strict=True))


def test_a_training_step_over_data_and_axial_ranks_is_that_of_one_rank(ranks: RankPool) -> None:
    assert max(ranks.run(worst_of_two_samples)) < TOLERANCE
