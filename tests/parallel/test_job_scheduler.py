"""Which ranks fold which job: long ones are split over a group, short ones come from a queue."""

import os
from dataclasses import dataclass

import pytest
import torch.distributed as dist

from foldcli.errors import InputError
from foldcli.folding.job_scheduler import MIN_SPLIT_LENGTH, JobScheduler, take_jobs
from foldcli.parallel.mesh import world_group
from tests.parallel.rank_pool import RankPool

LONG, SHORT = MIN_SPLIT_LENGTH, MIN_SPLIT_LENGTH - 1


@dataclass(frozen=True)
class Sized:
    """A job that has a length and nothing else."""

    length: int


def taken(lengths: list[int], dap: int, fits: int, queue: str) -> list[tuple[int, int]]:
    """For every job that this rank takes part in: the size of its DAP group, and its length."""
    os.environ["LOCAL_WORLD_SIZE"] = str(dist.get_world_size())
    jobs = [Sized(length) for length in lengths]
    shares = JobScheduler(world_group()).assign(jobs, dap, "cpu", lambda job: job.length <= fits)
    return [
        (mesh.axial.size, job.length)
        for mesh, share in shares
        for job in take_jobs(share, mesh, f"{queue} {mesh.axial.size}")
    ]


def test_what_is_long_gets_the_group_and_the_rest_goes_one_each(ranks: RankPool) -> None:
    few = ranks.run(taken, [SHORT, LONG], 0, 10**6, "few")
    assert [job for rank in few for job in rank if job[0] == 1] == [(1, SHORT)]
    assert all((4, LONG) in rank for rank in few)
    many = ranks.run(taken, [LONG, SHORT, 10, 20, 2 * LONG], 0, LONG, "many")
    assert all(rank[0] == (4, 2 * LONG) for rank in many)
    assert sorted(job for rank in many for job in rank[1:]) == [(1, 10), (1, 20), (1, SHORT), (1, LONG)]
    assert all(rank[1:] == sorted(rank[1:], reverse=True) for rank in many)


def test_groups_of_a_given_size_take_turns_and_share_each_job(ranks: RankPool) -> None:
    pairs = ranks.run(taken, [10, 30, 20], 2, 10**6, "pairs")
    assert (pairs[0], pairs[2]) == (pairs[1], pairs[3])
    assert sorted(pairs[0] + pairs[2]) == [(2, 10), (2, 20), (2, 30)]


def taken_again(lengths: list[int]) -> list[tuple[int, int]]:
    """The same for jobs that are reassigned: every second rank had one that was too large for it."""
    os.environ["LOCAL_WORLD_SIZE"] = str(dist.get_world_size())
    too_large = [dist.get_rank()] if dist.get_rank() % 2 else []
    shares = JobScheduler(world_group()).reassign([Sized(length) for length in lengths], too_large, "cpu")
    return [(mesh.axial.size, job.length) for mesh, share in shares for job in take_jobs(share, mesh, "again")]


def test_what_was_too_large_for_one_rank_gets_the_group(ranks: RankPool) -> None:
    assert ranks.run(taken_again, [10, 20, 30, 40]) == [[(4, 20), (4, 40)]] * 4


def refusal(dap: int) -> str:
    with pytest.raises(InputError) as caught:
        taken([10], dap, 10, "refused")
    return str(caught.value)


def test_a_group_that_does_not_divide_the_ranks_is_refused(ranks: RankPool) -> None:
    assert set(ranks.run(refusal, 3)) == {"--dap 3: does not divide the 4 ranks; take a divisor, or auto"}
