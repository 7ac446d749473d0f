"""The folder of a run: its settings, its log, and what it has learnt."""

import contextlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from foldcli import __version__
from foldcli.config import ModelConfig, TrainConfig, build
from foldcli.devices import cpu_threads, device_name
from foldcli.errors import InputError, WeightsError
from foldcli.files import write_atomic
from foldcli.shapes import Tensor
from foldcli.weights.files import read_metadata, read_safetensors, write_safetensors

SETTINGS, VERSIONS, LOG, LOCK = "config.yaml", "versions.json", "log.jsonl", ".lock"
# What a limited run leaves to go on from, where its checkpoints are too large to take along.
AVERAGES = "averages.safetensors"

SAME = ("model", "seed", "batch_size")  # settings without which a state is another run's


def versions(config: TrainConfig, device: torch.device) -> dict[str, str | int]:
    """What the figures of a run depend on beside its configuration."""
    return {
        "foldcli": __version__, "torch": torch.__version__, "python": platform.python_version(),
        "device": device_name(device), "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": cpu_threads(device), "seed": config.seed,
    }  # fmt: skip


def write_settings(folder: Path, config: TrainConfig, device: torch.device) -> None:
    """Keep the resolved configuration and the versions with the run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / SETTINGS, OmegaConf.to_yaml(OmegaConf.create(asdict(config))))
    write_atomic(folder / VERSIONS, json.dumps(versions(config, device), indent=1) + "\n")


def changed_hardware(folder: Path, config: TrainConfig, device: torch.device) -> str:
    """What differs from where the run in the folder was made, such as "threads 2, was 1"; "" where nothing does."""
    try:
        before = json.loads((folder / VERSIONS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    now = versions(config, device)
    keys = ("device", "instructions", "threads", "torch")
    changed = [key for key in keys if before.get(key, now[key]) != now[key]]
    return "; ".join(f"{key} {now[key]}, was {before[key]}" for key in changed)


def lock_folder(folder: Path) -> FileLock:
    """A lock on the folder, held until it is released; InputError if another training has it."""
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(f"{folder}: another training writes there; give another --out, or wait for its end") from None
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be written ({error.strerror}); use another folder") from None
    return lock


def require_same_model(folder: Path, config: TrainConfig) -> None:
    """InputError if the run in the folder is of another model, whose state this one could not take."""
    if not (folder / SETTINGS).is_file():
        return
    try:
        before: Any = OmegaConf.to_container(OmegaConf.load(folder / SETTINGS))
        before = {key: before.get(key) for key in SAME}
        before["model"] = asdict(build(ModelConfig, before["model"]))  # settings that are newer have their defaults
    except Exception:  # of damaged YAML each parser raises its own
        raise InputError(f"{folder / SETTINGS}: cannot be read; give another --out, or --resume none") from None
    now = asdict(config)
    for key in SAME:
        if before[key] != now[key]:
            raise InputError(
                f"{folder}: holds a run with another '{key}'; give another --out, or --resume none to begin anew"
            )


def export(path: Path, config: ModelConfig, parameters: Mapping[str, Tensor], notes: str) -> None:
    """Write parameters as `foldcli fold --weights` takes them, the model's own configuration in their head."""
    write_safetensors(path, parameters, {"preset": config.name, "model": json.dumps(asdict(config)), "notes": notes})


def write_averages(folder: Path, averages: Mapping[str, Tensor], step: int) -> None:
    """Keep averaged parameters in bfloat16, and the number of steps taken: a fifteenth of a checkpoint."""
    halves = {name: average.bfloat16() for name, average in averages.items()}
    write_safetensors(folder / AVERAGES, halves, {"step": str(step)})


def read_averages(path: Path) -> tuple[dict[str, Tensor], int]:
    """What `write_averages` wrote; WeightsError if it is damaged or something else."""
    step = read_metadata(path).get("step", "")
    if not step.isdigit():
        raise WeightsError(f"{path}: does not say how many steps were taken; remove it to begin anew")
    return read_safetensors(path), int(step)


class Journal:
    """The run's figures as lines of JSON, and for TensorBoard where that is installed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        self.board = _board(folder / "tensorboard")

    def forget_from(self, step: int) -> None:
        """Drop what a run that goes on from `step` will write again."""
        kept = [line for line in self.lines() if line["step"] < step]
        write_atomic(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def lines(self) -> Sequence[dict[str, Any]]:
        """All that was written, a half line of a killed run left out."""
        if not self.path.is_file():
            return []
        found: list[Any] = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return [line for line in found if isinstance(line, dict) and "step" in line]

    def add(self, step: int, figures: Mapping[str, float | str]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step} | dict(figures)) + "\n")
        for name, figure in figures.items():
            if self.board is not None and not isinstance(figure, str):
                self.board.add_scalar(name, figure, step)


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:  # an extra: foldcli[train]
        return None
    return SummaryWriter(folder)
