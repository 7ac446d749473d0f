"""Predicted aligned errors as files and as maps, row by row: as one text those of a long protein are gigabytes."""

import json
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from foldcli.errors import FoldcliError
from foldcli.protein.structure import Prediction

MAP_PIXELS: Final = 1000  # more than a map has


def database_json(prediction: Prediction) -> Iterator[str]:
    """The AlphaFold Database's PAE in parts: row i is aligned on, column j scored; and the largest value possible.

    Rounded to two decimals, where the database has whole angstrom. FoldcliError: a value is not finite.
    """
    assert prediction.pae is not None, "only models that predict aligned errors have the file"
    yield '[{"predicted_aligned_error": '
    yield from rows_json(prediction.pae)
    yield f', "max_predicted_aligned_error": {json.dumps(prediction.max_pae)}}}]'


def rows_json(pae: NDArray[np.float32]) -> Iterator[str]:
    """[i, j], from 0 to at most a few hundred, as JSON in parts: each hundredth is formatted once.

    FoldcliError: a value is not finite.
    """
    require_finite("PAE", pae)
    texts = np.array([repr(k / 100) for k in range(hundredths(pae.max(keepdims=True)).item() + 1)], dtype=object)
    before = "["
    for row in pae:
        yield f"{before}[{', '.join(texts[hundredths(row)].tolist())}]"
        before = ", "
    yield "]"


def hundredths(values: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.rint(np.around(values.astype(np.float64), 2) * 100).astype(np.int64)


def write_npz(file: BinaryIO, prediction: Prediction) -> None:
    """Write `pae` [i, j] as float16 in angstrom, within 0.008 of the value, and `max_pae`, compressed: for numpy.load.

    FoldcliError: a value is not finite.
    """
    pae = prediction.pae
    assert pae is not None, "only models that predict aligned errors have the file"
    require_finite("PAE", pae)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("pae.npy", "w", force_zip64=True) as member:
            header = {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": pae.shape}
            np.lib.format.write_array_header_1_0(member, header)
            for row in pae:
                member.write(row.astype(np.float16).tobytes())
        with archive.open("max_pae.npy", "w") as member:
            np.lib.format.write_array(member, np.array(prediction.max_pae, np.float32), allow_pickle=False)


def require_finite(name: str, values: NDArray[Any]) -> None:
    """FoldcliError if a value is not finite, with its residue: the last index."""
    if np.isfinite([values.min(), values.max()]).all():  # needs no memory, and NaN wins both
        return
    first = [int(k) + 1 for k in np.argwhere(~np.isfinite(values))[0]]
    place = f" at residue {first[-1]}" if first else ""
    raise FoldcliError(f"{name}{place} is not finite")


def block_side(length: int) -> int:
    """The side of the square blocks of which a map shows the mean: as large as leaves MAP_PIXELS or more a side."""
    return max(1, length // MAP_PIXELS)


def shrunk(pae: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of each block of a map; the last block along an axis may be smaller."""
    length, side = len(pae), block_side(len(pae))
    starts = np.arange(0, length, side)
    sizes = np.diff(starts, append=length).astype(np.float32)
    sums = np.stack([np.add.reduceat(pae[start : start + side].sum(0), starts) for start in starts])
    return (sums / sizes / sizes[:, None]).astype(np.float32)
