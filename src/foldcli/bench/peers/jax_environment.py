"""DeepMind's AlphaFold in a Python environment of its own, since JAX and torch need different package versions."""

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
# Installed without dependencies: these are old versions of the above, and tools of alignment searches.
BARE_PACKAGES = ("alphafold-colabfold", "colabfold-kernels")
SCRIPT = Path(__file__).with_name("run_alphafold.py")
READY = "ready"


def folder() -> Path:
    """The environment's folder, inside the cache folder."""
    return cache_folder() / "peers" / "alphafold"


def prepare() -> None:
    """Create the environment with pip, unless it exists; FoldcliError: pip failed, after its own messages."""
    if (folder() / READY).is_file():
        return
    venv.create(folder(), with_pip=True, clear=True)
    install = [str(_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for arguments in (PACKAGES, ("--no-deps", *BARE_PACKAGES)):
        if subprocess.run([*install, *arguments], check=False).returncode:
            raise FoldcliError(f"{folder()}: pip could not install {arguments[-1]}; see above, and try again")
    (folder() / READY).touch()


def command(script: Path = SCRIPT) -> list[str]:
    """The command line of a script in the environment; FoldcliError: the environment does not exist."""
    if not (folder() / READY).is_file():
        raise FoldcliError(f"{folder()}: no AlphaFold by DeepMind; foldcli bench peers --prepare installs it")
    return [str(_python()), str(script)]


def _python() -> Path:
    return folder() / "bin/python"


@contextlib.contextmanager
def served(out: Path, options: Sequence[str]) -> Iterator[Callable[[], float]]:
    """Run DeepMind's model in a process of its own, with its results in `out`.

    Yields a function that runs it once more and returns the seconds. FoldcliError: it does not start.
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
