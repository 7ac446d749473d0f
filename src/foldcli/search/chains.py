"""Chain files as a search needs them: names, clusters, sequences and backbones of experimental chains."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foldcli.errors import InputError

PER_ANGSTROM = 100


@dataclass(frozen=True)
class Backbones:
    """n chains: names and cluster numbers [n], sequences, and of each N, CA and C [i, 3, 3] in 0.01 angstrom."""

    names: list[str]
    clusters: NDArray[np.int32]
    sequences: list[str]
    traces: list[NDArray[np.int16]]


def read_backbones(paths: Sequence[Path]) -> Backbones:
    """The chains of all files, in order; InputError for a file of another kind or a name that comes twice."""
    files = [_read(path) for path in paths]
    names = [name for file in files for name in file.names]
    if len(set(names)) < len(names):
        twice = next(name for k, name in enumerate(names) if name in names[:k])
        raise InputError(f"{paths[-1]}: chain {twice} comes twice in the files named; name each file once")
    return Backbones(
        names,
        np.concatenate([file.clusters for file in files]),
        [sequence for file in files for sequence in file.sequences],
        [trace for file in files for trace in file.traces],
    )


def _read(path: Path) -> Backbones:
    try:
        with np.load(path, allow_pickle=False) as file:
            ends = np.cumsum(file["lengths"])[:-1]
            letters = np.split(file["sequence"], ends)
            return Backbones(
                [str(name) for name in file["names"]],
                file["cluster"],
                [part.tobytes().decode("ascii") for part in letters],
                np.split(file["backbone"], ends),
            )
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except KeyError as error:
        raise InputError(f"{path}: has no array {error.args[0]}; expected a chain file") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a chain file (.npz)") from error
