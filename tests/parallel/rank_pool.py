"""Gloo ranks that live through all tests; each test runs a function on all of them."""

import os
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from foldcli.parallel.mesh import RankGroup


class RankPool:
    """`count` processes in one gloo process group; `run` calls a function of a test module on each."""

    def __init__(self, count: int, rendezvous: Path) -> None:
        context = mp.get_context("spawn")
        pairs = [context.Pipe() for _ in range(count)]
        self.pipes = [ours for ours, _ in pairs]
        self.processes = [
            context.Process(target=_serve, args=(theirs, rank, count, str(rendezvous)), daemon=True)
            for rank, (_, theirs) in enumerate(pairs)
        ]
        for process in self.processes:
            process.start()

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """The function's result on every rank; AssertionError with a rank's traceback if one raised."""
        for pipe in self.pipes:
            pipe.send((function, arguments))
        answers: dict[Connection, Any] = {}
        while len(answers) < len(self.pipes):
            for pipe in wait([pipe for pipe in self.pipes if pipe not in answers]):
                good, answers[pipe] = pipe.recv()
                if not good:
                    self.close()  # the other ranks may wait for this one
                assert good, answers[pipe]
        return [answers[pipe] for pipe in self.pipes]

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join(2)
            process.kill()


@cache
def group_of(count: int) -> RankGroup | None:
    """A group of the first `count` ranks, None on the others; unlike a mesh it may have any number."""
    made = dist.new_group(range(count))
    return RankGroup(dist.get_rank(), count, made.group_name) if dist.get_rank() < count else None


def _serve(pipe: Connection, rank: int, count: int, rendezvous: str) -> None:
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=count)
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            break
        pipe.send(_attempt(function, arguments))
    dist.destroy_process_group()


def _attempt(function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[bool, Any]:
    try:
        return True, function(*arguments)
    except Exception:
        return False, traceback.format_exc()
