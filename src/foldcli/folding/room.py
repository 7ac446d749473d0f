"""Room for each job of a run: whole, split over ranks, or in slices by a plan."""

from collections.abc import Mapping, Sequence

import torch

from foldcli.errors import FoldcliError
from foldcli.folding.alignments import depth_foreseen
from foldcli.folding.allocator import keep_freed_memory, return_freed_memory
from foldcli.folding.job import Job
from foldcli.folding.memory import require_memory
from foldcli.folding.models import Source
from foldcli.folding.plans import Plans
from foldcli.folding.team import Group, Team
from foldcli.model.alphafold import AlphaFold
from foldcli.parallel.worker import ranks_of_host


class Room:
    """What a job of a run may take, and whether it fits."""

    def __init__(self, sources: Sequence[Source], device: torch.device, precision: torch.dtype, team: Team) -> None:
        self.sources = sources
        self.config = sources[0].config
        self.device = device
        self.width = precision.itemsize
        self.team = team
        self.plans = Plans(self.config, device, precision)

    def settle(self, job: Job, group: Group, models: Mapping[str, AlphaFold], share: float) -> None:
        """FoldcliError if the job does not fit, in slices neither; where it fits twice, trade memory for speed.

        share: of what is free, below 1 when that was too much.
        """
        return_freed_memory()
        self.plans.clear()
        room, lack = 0.0, None
        try:
            room = self._times(job, group.size)
        except FoldcliError as error:
            lack = error
        if group.size == 1 and self.config.autochunk and (lack or share < 1 or self.plans.wanted):
            self.plans.fit(models, job.length, job.depth, share)
            return
        if group.any(lack is not None):
            raise lack or FoldcliError("another rank has too little free memory for it; fold a shorter sequence")
        if room > 2:
            keep_freed_memory()

    def fits_one_rank(self, job: Job) -> bool:
        try:
            return self._times(job, 1) >= 1
        except FoldcliError:
            return False

    def _times(self, job: Job, ranks: int) -> float:
        """How many times the job, split over so many ranks, fits into what is free; FoldcliError if not once."""
        beside = ranks_of_host() if self.device.type == "cpu" and self.team.size > 1 else 1
        configs = [source.config.model for source in self.sources]
        share = beside / ranks
        depth = depth_foreseen(job.query, self.config)
        return min(require_memory(config, job.length, depth, self.width, self.device, share) for config in configs)


# What torch's allocator says, and oneDNN, which gives no reason: of its calls here nothing but memory can fail.
NO_MEMORY = ("allocate memory", "could not create a primitive", "could not execute a primitive")


def is_lack_of_memory(error: Exception) -> bool:
    """Whether an error of any library says that there was no memory left."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(said in str(error) for said in NO_MEMORY)
