"""What is installed: parameters, the library of known structures, and optional programs and packages."""

import importlib.util
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from foldcli.doctor.finding import Finding
from foldcli.errors import WeightsError
from foldcli.weights import cache, default

# Optional packages: name, purpose, and how to get it.
PACKAGES = (
    ("openmm", "relaxation", "for --relax: pip install 'foldcli[relax]'"),
    ("pdbfixer", "relaxation", "for --relax: pip install 'foldcli[relax]'"),
    ("tensorboard", "figures of a training run", "for tensorboard/ in runs: pip install 'foldcli[train]'"),
)


def weights(sums: bool) -> Iterator[Finding]:
    """The parameter files in the cache, compared with their recorded sizes, and with their SHA-256 if `sums`."""
    from foldcli.folding.models import resolve

    present = sum(entry.present for entry in cache.listing())
    found = f"{present} of {len(cache.PRESETS)} presets in {cache.params_folder()}"
    try:
        resolve([], None, [])
    except WeightsError as error:
        yield Finding("parameters", found, str(error))
    else:
        advice = "" if present else f"{default.NAME}, which comes with the package, folds; {default.BETTER}"
        yield Finding("parameters", found, advice)
    for problem in cache.verify(sums=sums):
        damaged = problem.reason.startswith(cache.DAMAGED)
        yield Finding("parameters", problem.path.name, problem.reason, broken=damaged)
    if present and not sums:
        yield Finding("their sums", "sizes alone were compared; foldcli doctor --verify reads every byte")


def library() -> Iterator[Finding]:
    from foldcli.search.library import Library, bundled

    chains = len(Library(bundled()).sequences.letters)
    yield Finding("structure library", f"{chains} chains of known structures in the package's library")


def tools() -> Iterator[Finding]:
    program = shutil.which("mmseqs")
    yield Finding("mmseqs", program or "none", "" if program else "to search its databases: install MMseqs2 (optional)")
    for name, purpose, advice in PACKAGES:
        if importlib.util.find_spec(name):
            yield Finding(name, f"{_version(name)}, for {purpose}")
        else:
            yield Finding(name, "none", f"{advice} (optional)")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # importable, but not installed as a package
        return "of unknown version"
