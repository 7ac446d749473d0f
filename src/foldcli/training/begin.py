"""Set up a training run from a recipe: device, data, model, and the checkpoint to resume from."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from foldcli.config import TrainConfig
from foldcli.data.training.open_source import open_source
from foldcli.devices import choose_device, choose_precision
from foldcli.errors import InputError, WeightsError
from foldcli.model.alphafold import AlphaFold
from foldcli.parallel.launch import launch, require_devices
from foldcli.parallel.mesh import RankMesh, build_mesh
from foldcli.parallel.shard import shard
from foldcli.parallel.worker import is_launched, process_group
from foldcli.search.homologs import with_homologs
from foldcli.training.folder import changed_hardware, lock_folder, require_same_model, write_settings
from foldcli.training.initialize import initialize
from foldcli.training.learner import Learner
from foldcli.training.memory import require_memory
from foldcli.training.progress import Watcher
from foldcli.training.recompute import recompute_blocks
from foldcli.training.run import TrainingRun
from foldcli.weights.files import read_safetensors

NO_CUDA = "'device' is cuda and torch sees none; take device=cpu, or install a CUDA build of torch"


@contextlib.contextmanager
def join_or_launch_ranks(config: TrainConfig) -> Iterator[tuple[torch.device, RankMesh]]:
    """Join the process group inside the block, if launched as a rank; yields this process's device and place.

    A process that was not launched as a rank, but is asked for several GPUs, launches one rank for each and exits.
    """
    kind = choose_device(config.device, NO_CUDA).type
    if is_launched():
        with process_group(kind) as device:
            yield device, build_mesh(kind, config.dap)
        return
    if config.gpus > 1:
        require_devices(config.device, config.gpus, "device=cpu")
        launch(sys.argv[1:], config.gpus)
    yield torch.device(kind), RankMesh()


def begin(
    config: TrainConfig, out: Path, resume: bool, device: torch.device, mesh: RankMesh, watcher: Watcher
) -> TrainingRun:
    """A run in the folder `out`, locked until `train` ends.

    InputError, before anything is written: data or folder do not suit the recipe, or another training has the folder.
    """
    if config.max_minutes and mesh.world.size > 1:
        raise InputError("configuration: 'max_minutes' is for one process, whose clock counts; launch one")
    source = with_homologs(open_source(config.train, "train"), config.train)
    held_out = None
    if config.validation:
        held_out = with_homologs(open_source(config.validation, "validation"), config.validation)
    if resume:
        require_same_model(out, config)
    model = new_model(config, device, mesh)
    require_memory(config, model, device, mesh)
    lock = lock_folder(out) if mesh.world.first else None
    if not resume and mesh.world.first:
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    run = TrainingRun(Learner(model, config, mesh), source, held_out, out, lock)
    changed = changed_hardware(out, config, device)
    if mesh.world.first:
        write_settings(out, config, device)
    watcher.say(
        f"{config.name}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters on {device}, "
        f"{len(source.entries)} chains to learn from, {len(held_out.entries) if held_out else 0} to validate on"
    )
    if resume:
        run.resume(watcher, changed)
    return run


def new_model(config: TrainConfig, device: torch.device, mesh: RankMesh) -> AlphaFold:
    """The model before the first step, sharded over `mesh.axial`; WeightsError if `start_from` does not suit it.

    The order matters: `shard` first, then recomputed blocks, which wrap what a rank runs.
    """
    model = AlphaFold(config.model)
    initialize(model, config.seed)
    if config.start_from:
        _load_parameters(model, Path(config.start_from))
    model.trunk.to(choose_precision(config.precision, device))
    shard(model, mesh.axial)
    if config.recompute:
        recompute_blocks(model)
    return model.to(device)


def _load_parameters(model: AlphaFold, path: Path) -> None:
    """Load a file's parameters; those that only the model has, such as a new head's, keep their random values."""
    found, ours = read_safetensors(path), model.state_dict()
    unfit = sorted(name for name in found if name not in ours or ours[name].shape != found[name].shape)
    if unfit:
        raise WeightsError(f"'start_from' {path}: '{unfit[0]}' is not in this model or has another shape")
    model.load_state_dict(found, strict=False)
