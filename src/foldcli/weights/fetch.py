"""Download parameters and import them into the cache."""

from collections.abc import Callable, Sequence
from pathlib import Path

from foldcli.cache_folder import cache_folder
from foldcli.weights.cache import PRESETS, SUFFIXES, Entry, find, preset_of, require_presets
from foldcli.weights.download import download, held, name_of
from foldcli.weights.files import DamagedError, Progress
from foldcli.weights.importing import import_file

OFFICIAL = "https://storage.googleapis.com/alphafold/alphafold_params_2022-12-06.tar"
FILES_IN_OFFICIAL = len(PRESETS)  # of about equal size


def fetch(
    url: str = OFFICIAL,
    models: Sequence[str] = (),
    *,
    expected: str = "",
    keep: bool = False,
    overwrite: bool = False,
    progress: Callable[[str], Progress] = lambda title: lambda done, total: None,
) -> list[Entry]:
    """Download an archive or a parameter file and import it; the new entries, none if all presets were there already.

    models: presets to take, all if empty. expected: the SHA-256 of the download. keep: keep it in the cache's folder
    `downloads`. progress: makes the progress callback for a step's title. Errors as of `download` and `import_file`.
    """
    name = name_of(url)
    require_presets(models)
    path = cache_folder() / "downloads" / name
    # Locked until it is imported: a process that waits then finds the parameters, not a deleted archive.
    with held(path.with_suffix(".import")):
        if not overwrite and all(find(preset) for preset in _wanted(name, models)):
            return []
        reserve = len(models or PRESETS) / FILES_IN_OFFICIAL if url == OFFICIAL else 1.0
        download(url, path, expected=expected, reserve=reserve, progress=progress("download"))
        try:
            entries = import_file(path, models, url, overwrite, progress("import"))
        except DamagedError:
            path.unlink()  # or the next attempt would use it again
            raise
        if not keep:
            path.unlink()
        return entries


def _wanted(name: str, models: Sequence[str]) -> Sequence[str]:
    if models or Path(name).suffix not in SUFFIXES:
        return models or PRESETS
    preset = preset_of(name)
    return [preset] if preset else PRESETS
