"""One rank of `benchmarks/parallel.py`: training steps of the model `mini`, each rank with samples of its own.

Rank 0 prints JSON: the median seconds of a step, of its exposed communication, and of what its ranks wait for the
slowest before they communicate; and the bytes that one sends.
"""

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist

from foldcli.compose import train_config
from foldcli.data.training.loader import Loader
from foldcli.data.training.open_source import open_source
from foldcli.parallel.comm_volume import CommCounter
from foldcli.parallel.mesh import build_mesh
from foldcli.search.homologs import with_homologs
from foldcli.training.begin import new_model
from foldcli.training.learner import Learner


class Together(CommCounter):
    """Waits for all ranks before each collective, so that none of its time is spent on waiting for them."""

    late = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.namespace == "_c10d_functional" and func._opname != "wait_tensor":
            start = time.perf_counter()
            dist.barrier()
            self.late += time.perf_counter() - start
        return super().__torch_dispatch__(func, types, args, kwargs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--samples", type=int, default=4, help="of each rank and step")
    options = parser.parse_args()
    dist.init_process_group("gloo")
    mesh, device = build_mesh("cpu", 1), torch.device("cpu")
    batch = f"batch_size={options.samples * mesh.data.size}"
    config = train_config("mini", [batch, f"micro_batch={options.samples}", "device=cpu"])
    learner = Learner(new_model(config, device, mesh), config, mesh)
    source = with_homologs(open_source(config.train), config.train)
    turns = list[tuple[float, float, float]]()
    with contextlib.closing(Loader(source, config, mesh.data.rank, mesh.data.size, device)) as loader:
        loader.start(0)
        for _ in range(options.turns + 1):
            batches = loader.step()
            dist.barrier()
            start = time.perf_counter()
            with Together(mesh.data) as counter:
                learner.learn(batches)
            turns.append((time.perf_counter() - start, counter.exposed, counter.late))
    if mesh.world.first:
        step, exposed, late = (statistics.median(each) for each in zip(*turns[1:], strict=True))
        sent = sum(counter.sent.values())
        print(json.dumps({"step": step - late, "exposed": exposed, "late": late, "sent": sent}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
