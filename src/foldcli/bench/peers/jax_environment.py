"""DeepMind's AlphaFold in a Python environment of its own: JAX and torch each want packages of their own age."""

import contextlib
import subprocess
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from foldcli.cache_folder import cache_folder
from foldcli.errors import FoldcliError

PACKAGES = (
    "jax", "jaxlib", "dm-haiku", "ml_collections", "dm-tree", "immutabledict", "biopython", "scipy", "pandas", "chex",
    "absl-py",
)  # fmt: skip
# Without what they ask for: old versions of the above, and what only searches need.
BARE_PACKAGES = ("alphafold-colabfold", "colabfold-kernels")
SCRIPT = Path(__file__).with_name("run_alphafold.py")
READY = "ready"


def folder() -> Path:
    """Where the environment lies: beside the parameters, in the cache folder."""
    return cache_folder() / "peers" / "alphafold"


def prepare() -> None:
    """Make the environment, if it is not there, with pip and the package index that pip is set up for.

    FoldcliError: where pip fails, after its own words.
    """
    if (folder() / READY).is_file():
        return
    venv.create(folder(), with_pip=True, clear=True)
    install = [str(_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for arguments in (PACKAGES, ("--no-deps", *BARE_PACKAGES)):
        if subprocess.run([*install, *arguments], check=False).returncode:
            raise FoldcliError(f"{folder()}: pip could not install {arguments[-1]}; see above, and try again")
    (folder() / READY).touch()


def command(script: Path = SCRIPT) -> list[str]:
    """How a script runs in the environment; FoldcliError where there is none."""
    if not (folder() / READY).is_file():
        raise FoldcliError(f"{folder()}: DeepMind's AlphaFold is not there; foldcli bench peers --prepare gets it")
    return [str(_python()), str(script)]


def _python() -> Path:
    return folder() / "bin/python"


@contextlib.contextmanager
def served(out: Path, options: Sequence[str]) -> Iterator[Callable[[], float]]:
    """DeepMind's model in a process of its own, its results in `out`; each call runs it once and returns the seconds.

    FoldcliError: where it does not start; its own words stand above.
    """
    line = [*command(), *options, "--serve", "--out", str(out)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        asked, told = process.stdin, process.stdout
        assert asked and told
        if told.readline().strip() != "ready":
            raise FoldcliError("DeepMind's AlphaFold did not start; see above")

        def once() -> float:
            print(file=asked, flush=True)
            return float(told.readline())

        yield once
        asked.close()
