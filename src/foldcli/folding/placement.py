"""Where each job's memory comes from: the model runs whole, split over ranks, or in chunks by an AutoChunk plan."""

from collections.abc import Mapping, Sequence

import torch

from foldcli.errors import FoldcliError
from foldcli.folding.alignments import expected_depth
from foldcli.folding.allocator import keep_freed_memory, return_freed_memory
from foldcli.folding.chunking import ChunkedModels
from foldcli.folding.job import Job
from foldcli.folding.memory import require_memory
from foldcli.folding.models import Source
from foldcli.folding.whole import WholeModels
from foldcli.model.alphafold import FoldingModel
from foldcli.parallel.mesh import RankGroup
from foldcli.parallel.worker import ranks_per_host


class MemoryPlacement:
    """Decides for each job of a run how it fits into memory, and sets up plans and allocator for that."""

    def __init__(
        self, sources: Sequence[Source], device: torch.device, precision: torch.dtype, world: RankGroup
    ) -> None:
        self.sources = sources
        self.config = sources[0].config
        self.device = device
        self.width = precision.itemsize
        self.world = world
        self.chunked_models = ChunkedModels(self.config, device, precision)
        self.whole_models = WholeModels(device, precision)
        self.in_chunks = False  # whether the job placed last runs by a plan

    def place(
        self, job: Job, group: RankGroup, models: Mapping[str, FoldingModel], share: float = 1.0
    ) -> Mapping[str, FoldingModel]:
        """The models to fold a job with: those given where it fits, chunked ones where it does not.

        share: part of the free memory to plan for, below 1 on a retry. FoldcliError: the job fits neither whole nor in
        chunks.
        """
        return_freed_memory()
        # before free memory is read; a retry has no room for any
        size = job.length, expected_depth(job.query, self.config), len(job.found.shown), group.size
        self.whole_models.graphs.keep_for(size if share == 1 else None)
        self.in_chunks = False
        times, lack = 0.0, None
        try:
            times = self._times_it_fits(job, group.size)
        except FoldcliError as error:
            lack = error
        lacking = group.any(lack is not None)
        if self.config.autochunk and (lacking or share < 1 or self.config.memory_budget):
            self.in_chunks = True
            sizes = job.length, job.depth, share, len(job.found.shown)
            return self.chunked_models.fit(models, *sizes, group, self._ranks_in_one_memory())
        if lacking:
            raise lack or FoldcliError("another rank has too little free memory for it; fold a shorter sequence")
        if times > 2:
            keep_freed_memory()  # faster, at up to twice the memory
        return self.whole_models.fit(models, times) if group.size == 1 else models

    def fits_one_rank(self, job: Job) -> bool:
        """Whether a job fits whole on one rank."""
        try:
            return self._times_it_fits(job, 1) >= 1
        except FoldcliError:
            return False

    def _ranks_in_one_memory(self) -> int:
        return ranks_per_host() if self.device.type == "cpu" and self.world.size > 1 else 1

    def _times_it_fits(self, job: Job, ranks: int) -> float:
        """How many times the job, split over so many ranks, fits into free memory; FoldcliError if not once."""
        configs = [source.config.model for source in self.sources]
        share = self._ranks_in_one_memory() / ranks
        depth, templates = expected_depth(job.query, self.config), len(job.found.shown)
        return min(
            require_memory(config, job.length, depth, self.width, self.device, share, templates) for config in configs
        )
