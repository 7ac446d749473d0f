"""Checkpoints of a run: written in the background, atomically, and read back bit for bit."""

import contextlib
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from safetensors import SafetensorError
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from foldcli.errors import FoldcliError
from foldcli.shapes import Tensor

DRAFT, DAMAGED = ".draft", ".damaged"
# The state is the same on every rank and only the first one writes it, so torch need not know of the others.
warnings.filterwarnings("ignore", message="torch.distributed is disabled")


class Checkpoints:
    """A folder of checkpoints, `step_00001000` and so on; the `keep` latest are kept, and the best one."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.pending: Future[None] | None = None

    def write(self, step: int, best: int, state: Mapping[str, Tensor]) -> None:
        """Copy the state and write it in the background; best: the step whose checkpoint is kept, however old.

        FoldcliError if the previous checkpoint could not be written.
        """
        self.finish()
        if self._path(step).exists():
            return
        copy = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
        self.pending = self.writer.submit(self._write, self._path(step), self._path(best), copy)

    def finish(self) -> None:
        """Wait until the pending checkpoint is on disk; FoldcliError if it could not be written."""
        if self.pending is not None:
            pending, self.pending = self.pending, None
            try:
                pending.result()
            except (OSError, CheckpointException) as error:
                raise FoldcliError(f"{self.folder}: the checkpoint cannot be written ({error}); make room") from error

    def steps(self) -> list[Path]:
        """The complete checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step_*") if not path.suffix)

    def leave_out(self, path: Path) -> Path:
        """Rename a damaged checkpoint, so that the run can write its step anew; returns the new name."""
        damaged = path.with_name(path.name + DAMAGED)
        shutil.rmtree(damaged, ignore_errors=True)
        path.rename(damaged)
        return damaged

    def _write(self, path: Path, best: Path, state: dict[str, Tensor]) -> None:
        draft = path.with_name(path.name + DRAFT)
        shutil.rmtree(draft, ignore_errors=True)  # left by a run that was killed here
        save(state, storage_writer=HuggingFaceStorageWriter(str(draft)), no_dist=True)
        for file in draft.iterdir():  # the bytes must be on disk before the final name
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
        # The folder is not synced: a file system's journal keeps the order of this rename and the removals below, so
        # that a power cut that takes the new name leaves the checkpoints before it.
        draft.rename(path)
        for old in self.steps()[: -self.keep]:
            if old != best:
                shutil.rmtree(old, ignore_errors=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}"


def read_state(path: Path, state: Mapping[str, Tensor]) -> None:
    """Fill the tensors of `state` in place; FoldcliError if the checkpoint is damaged or of another model."""
    try:
        with _without_log():
            load(dict(state), storage_reader=HuggingFaceStorageReader(str(path)), no_dist=True)
    except (OSError, RuntimeError, KeyError, ValueError, SafetensorError, CheckpointException) as error:
        last = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        reason = last.rpartition("metadata read failed: ")[2]  # torch puts two phrases of its own before it
        raise FoldcliError(f"{path}: not a whole state of this run ({reason})") from error


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Inside the block nothing is logged: torch logs the traceback of an error that it raises as well."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
