"""Parameter files in the cache folder: which presets are there, where they came from, and whether they are intact."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from foldcli.cache_folder import cache_folder
from foldcli.errors import WeightsError
from foldcli.files import atomic
from foldcli.weights.files import TORCH_SUFFIXES, Progress, sha256

PRESETS = tuple(f"model_{i}{suffix}" for suffix in ("", "_ptm", "_multimer_v3") for i in range(1, 6))
SUFFIXES = (".npz", ".safetensors", *TORCH_SUFFIXES)
LICENSE = "CC BY 4.0"
NOTICE = (
    "AlphaFold's parameters: copyright DeepMind Technologies Limited, licensed under CC BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/); cite Jumper et al., Nature 596, 583 (2021), and for complexes "
    "Evans et al., bioRxiv 2021.10.04.463034"
)
MANIFEST = "manifest.json"
DAMAGED = "damaged"  # first word of a problem's reason where the file cannot be used


@dataclass(frozen=True)
class Entry:
    """What the manifest records of one preset's parameters; a file that was never imported has name and size alone."""

    preset: str
    file: str = ""  # name in the folder; empty if there is none
    size: int = 0  # bytes
    sha256: str = ""
    source: str = ""  # path or URL
    date: str = ""  # YYYY-MM-DD of its import
    license: str = ""

    @property
    def present(self) -> bool:
        return self.file != ""


@dataclass(frozen=True)
class Problem:
    """A file that differs from its record; `reason` says how, and what to do."""

    path: Path
    reason: str


def params_folder() -> Path:
    """The folder of the parameter files; it need not exist."""
    return cache_folder() / "params"


def preset_of(file_name: str) -> str | None:
    """The preset that a file is named after (`params_model_1_ptm.npz` -> `model_1_ptm`), or None."""
    match = re.fullmatch(r"(?:params_)?(\w+)(\.\w+)", file_name)
    return match[1] if match and match[1] in PRESETS and match[2] in SUFFIXES else None


def find(preset: str) -> Path | None:
    """The file with a preset's parameters, or None."""
    paths = (params_folder() / f"params_{preset}{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def require(preset: str) -> Path:
    """The file with a preset's parameters; WeightsError, which says how to get it, if there is none."""
    if path := find(preset):
        return path
    raise WeightsError(
        f"no parameters for {preset} in {params_folder()}; get them with `foldcli weights download`, or without a "
        f"network bring AlphaFold's params_{preset}.npz and run `foldcli weights import params_{preset}.npz`"
    )


def require_presets(names: Iterable[str]) -> None:
    """WeightsError if a name is not one of the presets."""
    for name in names:
        if name not in PRESETS:
            raise WeightsError(f"no preset '{name}'; there are {', '.join(PRESETS)}")


def listing() -> list[Entry]:
    """One entry for each preset, present or not."""
    recorded = read_manifest()
    return [_entry(preset, find(preset), recorded) for preset in PRESETS]


def _entry(preset: str, path: Path | None, recorded: Mapping[str, Entry]) -> Entry:
    if path is None:
        return Entry(preset)
    return recorded.get(path.name) or Entry(preset, path.name, path.stat().st_size)


def verify(progress: Progress | None = None, sums: bool = True) -> list[Problem]:
    """The files that differ from their recorded size or SHA-256, are missing, or were never recorded.

    sums: whether to compare SHA-256 too, which reads every byte.
    """
    recorded = read_manifest()
    present = {path.name for preset in PRESETS if (path := find(preset))}
    names = sorted(present | recorded.keys())
    checked = ((params_folder() / name, recorded.get(name)) for name in names)
    return [Problem(path, reason) for path, entry in checked if (reason := _fault(path, entry, progress, sums))]


def _fault(path: Path, entry: Entry | None, progress: Progress | None, sums: bool) -> str:
    if not path.is_file():
        return "recorded, but gone; bring it back with `foldcli weights download` or `foldcli weights import PATH`"
    if entry is None:
        return f"no sum was ever recorded; record it with `foldcli weights import {path}`"
    if (size := path.stat().st_size) != entry.size:
        return f"{DAMAGED}: {size} bytes, {entry.size} were recorded; delete it, then download or import it again"
    if sums and (found := sha256(path, progress)) != entry.sha256:
        return f"{DAMAGED}: SHA-256 {found}, {entry.sha256} was recorded; delete it, then download or import it again"
    return ""


def read_manifest() -> dict[str, Entry]:
    """The recorded entries by file name; WeightsError if the manifest is damaged."""
    path = params_folder() / MANIFEST
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {entry["file"]: _checked(Entry(**entry)) for entry in files}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        way_out = f"delete it, then run `foldcli weights import {params_folder()}` to record the files anew"
        raise WeightsError(f"{path}: not a manifest of foldcli, or damaged; {way_out}") from error


def _checked(entry: Entry) -> Entry:
    wanted: dict[str, Any] = {name: type(value) for name, value in asdict(Entry("")).items()}
    if any(type(value) is not wanted[name] for name, value in asdict(entry).items()):
        raise ValueError("a field of another type")
    if preset_of(entry.file) != entry.preset:  # also refuses names that lead out of the folder
        raise ValueError("a file under another preset's name")
    return entry


def record(entries: list[Entry]) -> None:
    """Write entries to the manifest, replacing those of the same presets; the caller holds the lock (`locked`)."""
    presets = {entry.preset for entry in entries}
    kept = [entry for entry in read_manifest().values() if entry.preset not in presets]
    files = [asdict(entry) for entry in sorted([*kept, *entries], key=lambda entry: entry.file)]
    with atomic(params_folder() / MANIFEST) as draft:
        draft.write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")


@contextlib.contextmanager
def locked() -> Iterator[Path]:
    """Make the parameter folder and lock it against other processes; WeightsError if it is not writable."""
    folder = params_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire()
    except OSError as error:
        way_out = "set FOLDCLI_HOME to a folder you can write to"
        raise WeightsError(f"{folder}: cannot be written ({error.strerror}); {way_out}") from error
    try:
        yield folder
    finally:
        lock.release()
