"""Import of parameter files into the cache: an archive, a folder or one file, all of it or nothing."""

import contextlib
import datetime
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from foldcli.errors import WeightsError, first_line
from foldcli.files import is_full, settle
from foldcli.weights import archive
from foldcli.weights.cache import (
    LICENSE,
    PRESETS,
    SUFFIXES,
    Entry,
    find,
    locked,
    preset_of,
    read_manifest,
    record,
    require_presets,
)
from foldcli.weights.files import (
    MAKE_ROOM,
    TORCH_SUFFIXES,
    DamagedError,
    Progress,
    copy,
    counter,
    file_in,
    read_metadata,
    read_npz,
    read_state_dict,
    require_space,
    sha256,
)  # fmt: skip

EXPECTED = "AlphaFold's tar, params_model_*.npz, a folder of these, or a .safetensors, .pt or .ckpt file"


@dataclass(frozen=True)
class Draft:
    """A parameter file in the staging folder, or already at its final path."""

    preset: str
    path: Path
    sha256: str

    @property
    def file(self) -> str:
        return f"params_{self.preset}{self.path.suffix}"


def import_file(
    path: Path, models: Sequence[str] = (), source: str = "", overwrite: bool = False, progress: Progress | None = None
) -> list[Entry]:
    """Copy parameters into the cache, record their SHA-256 and return their entries; on an error nothing changes.

    path: AlphaFold's tar archive, a parameter file, a DeepSpeed checkpoint's folder, or a folder of such files. models:
    the presets to take from an archive or a folder, all if empty; for one file, the preset that it holds, if its name
    does not say. source: the recorded origin, by default the path. WeightsError: nothing found, damaged, unsafe, no
    space, or other parameters of the same preset are there and `overwrite` is off.
    """
    require_presets(models)
    path = path.expanduser().absolute()
    if not path.exists():
        raise WeightsError(f"{path}: no such file; expected {EXPECTED}")
    with locked() as folder:
        try:
            with _staging(folder) as stage:
                drafts = _collect(path, models, stage, progress or (lambda done, total: None))
                for draft in drafts:
                    _check(draft, path)
                if not overwrite:
                    _require_same_or_none(drafts)
                return _install(drafts, stage, folder, source or str(path))
        except OSError as error:
            reason = f"the disk is full; {MAKE_ROOM}" if is_full(error) else first_line(error)
            raise WeightsError(f"{path}: cannot be copied to {folder} ({reason})") from error


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    for left in folder.glob(".import-*"):  # left by a killed import: we hold the lock, so none is running
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=folder) as stage:
        yield Path(stage)


def _collect(path: Path, models: Sequence[str], stage: Path, progress: Callable[[int, int], None]) -> list[Draft]:
    path = (file_in(path) or path) if path.is_dir() else path
    if path.is_dir():
        return _copied(_in_folder(path, models), stage, progress)
    if path.suffix in SUFFIXES:
        return _copied({_preset_of_file(path, models): path}, stage, progress)
    wanted = {f"params_{preset}.npz": preset for preset in models or PRESETS}
    sums = archive.unpack(path, wanted, stage, progress)
    drafts = [Draft(preset, stage / name, sums[name]) for name, preset in wanted.items() if name in sums]
    _require_all(path, models, [draft.preset for draft in drafts])
    return drafts


def _in_folder(folder: Path, models: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for place in (folder, folder / "params"):  # AlphaFold's data folder has them in params/
        for path in sorted(place.glob("params_*")):
            preset = preset_of(path.name)
            if preset and preset in (models or PRESETS) and path.is_file():
                if preset in found:
                    raise WeightsError(f"{path}: {found[preset].name} holds {preset} too; import the one you mean")
                found[preset] = path
    _require_all(folder, models, list(found))
    return found


def _preset_of_file(path: Path, models: Sequence[str]) -> str:
    if len(models) == 1:
        return models[0]
    if models:
        raise WeightsError(f"{path}: holds one preset, {len(models)} were named")
    noted = read_metadata(path).get("preset", "") if path.suffix == ".safetensors" else ""
    preset = noted if noted in PRESETS else preset_of(path.name)
    if preset is None:
        raise WeightsError(
            f"{path}: its name does not say which preset it is; give --model, one of {', '.join(PRESETS)}"
        )
    return preset


def _require_all(path: Path, models: Sequence[str], found: Sequence[str]) -> None:
    if not found:
        raise WeightsError(f"{path}: holds none of params_model_1.npz ... model_5_multimer_v3.npz; expected {EXPECTED}")
    if missing := [model for model in models if model not in found]:
        raise WeightsError(f"{path}: holds no parameters for {', '.join(missing)}; it has {', '.join(found)}")


def _copied(files: dict[str, Path], stage: Path, progress: Callable[[int, int], None]) -> list[Draft]:
    total = sum(path.stat().st_size for path in files.values())
    require_space(stage, total)
    heard = counter(total, progress)
    return [_copied_one(preset, path, stage, heard) for preset, path in files.items()]


def _copied_one(preset: str, path: Path, stage: Path, heard: Callable[[int], None]) -> Draft:
    place = stage.parent / f"params_{preset}{path.suffix}"
    if place.exists() and place.samefile(path):  # put there by hand: only recorded
        return Draft(preset, place, sha256(place))
    with path.open("rb") as stream:
        return Draft(preset, stage / place.name, copy(stream, stage / place.name, heard))


def _check(draft: Draft, origin: Path) -> None:
    try:
        if draft.path.suffix == ".safetensors":
            read_metadata(draft.path)
        elif draft.path.suffix in TORCH_SUFFIXES:
            read_state_dict(draft.path)
        elif not any(key.startswith("alphafold/") for key in read_npz(draft.path)):
            raise DamagedError(f"{draft.path}: holds no parameters of AlphaFold (no key starts with 'alphafold/')")
    except WeightsError as error:
        where = str(origin) if origin.is_file() and origin.suffix in SUFFIXES else f"{origin}: {draft.path.name}"
        error.args = (str(error).replace(str(draft.path), where),)
        raise


def _require_same_or_none(drafts: Sequence[Draft]) -> None:
    recorded = {entry.preset: entry for entry in read_manifest().values()}
    for draft in drafts:
        entry, path = recorded.get(draft.preset), find(draft.preset)
        # The record counts, not the file: it may be the damaged one that this import replaces.
        known = entry.sha256 if entry else sha256(path) if path else draft.sha256
        if known != draft.sha256:
            there = path or (entry and entry.file)
            raise WeightsError(f"{there}: other parameters for {draft.preset} are there; --overwrite replaces them")


def _install(drafts: Sequence[Draft], stage: Path, folder: Path, source: str) -> list[Entry]:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    entries = []
    for draft in drafts:
        size, place = draft.path.stat().st_size, folder / draft.file
        terms = LICENSE if place.suffix == ".npz" else ""
        entries.append(Entry(draft.preset, draft.file, size, draft.sha256, source, today, terms))
        if draft.path != place:
            settle(draft.path, place)
        for suffix in SUFFIXES:
            if suffix != place.suffix:
                place.with_suffix(suffix).unlink(missing_ok=True)
    if (license_file := stage / archive.LICENSE_FILE).is_file():
        license_file.replace(folder / archive.LICENSE_FILE)
    record(entries)
    return entries
