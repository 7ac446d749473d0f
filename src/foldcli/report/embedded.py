"""The data of a report's scripts, as one JSON value: structures, pLDDT, PAE, coverage."""

import base64
import itertools
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from foldcli.geometry.superposition import superpose
from foldcli.protein.interfaces import contacts
from foldcli.protein.residues import CA, GAP
from foldcli.protein.structure import Interfaces, Prediction, Structure
from foldcli.report.aligned_errors import block_side, shrunk
from foldcli.report.plots import BANDS, identities

# Angstrom per unit of the PAE bytes: half a bin of the models' error distribution, and 0 to 63 Å fit into a byte.
PAE_STEP: Final = 0.25
ZLIB_LEVEL: Final = 2  # a quarter of the default's time, for a page a fiftieth larger
# Lowest identity to the query in each layer of the coverage plot, the highest first.
IDENTITIES: Final = (0.8, 0.6, 0.4, 0.2, 0.0)


def embedded(predictions: Sequence[Prediction], structures: Sequence[Path], tokens: NDArray[np.int8]) -> str:
    """JSON for a script element: without `<`, so that no text in it can end the element.

    structures: the file of each prediction, mmCIF or PDB; tokens [s, i]: the alignment, 21 a gap.
    """
    first = predictions[0].structure
    target = _upright(first)
    pairs = zip(predictions, structures, strict=True)
    value = {
        "sequence": first.sequence,
        "residues": first.residue_index.tolist(),
        "chains": [
            (chain.name, chain.span.start, chain.span.stop - 1) for chain in first.chains[: len(first.chain_lengths)]
        ],
        "bands": BANDS,
        "paeStep": PAE_STEP,
        "paeBlock": block_side(len(first.sequence)),
        "identities": IDENTITIES,
        "coverage": coverage(tokens, first.chain_lengths) if len(tokens) > 1 else [],
        "predictions": [
            _prediction(one, file) | {"motion": _motion(one.structure, first, target)} for one, file in pairs
        ],
    }
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def coverage(tokens: NDArray[np.int8], chain_lengths: Sequence[int] = ()) -> list[list[int]]:
    """Number of rows with a residue in each column, [layer, i], in layers of identity to the first row, the query.

    A layer has the identities from its value in IDENTITIES up to the value before it.
    """
    identity = identities(tokens, chain_lengths)
    layer = np.argmax(identity[:, None] >= np.array(IDENTITIES), axis=1)
    return [(tokens[layer == k] != GAP).sum(axis=0).tolist() for k in range(len(IDENTITIES))]


def _prediction(prediction: Prediction, file: Path) -> dict[str, Any]:
    pae = None if prediction.pae is None else np.around(shrunk(prediction.pae) / PAE_STEP).astype(np.uint8)
    return {
        "plddt": np.around(prediction.plddt.astype(np.float64), 1).tolist(),
        "pae": None if pae is None else _packed(pae.tobytes()),
        "maxPae": prediction.max_pae,
        "file": file.name,
        "format": file.suffix.removeprefix("."),
        "text": _packed(file.read_bytes()),
        **_interfaces(prediction),
    }


def _interfaces(prediction: Prediction) -> dict[str, Any]:
    """Values of each chain, and of each pair of chains, the surest pairs in contact first."""
    found, of = prediction.interfaces, prediction.structure
    if found is None:
        return {"chains": None, "interfaces": None}
    pairs = [_interface(found, of, a, b) for a, b in itertools.combinations(range(len(of.chains)), 2)]
    pairs.sort(key=lambda one: (one["contacts"] == 0, -one["ipsae"]))
    chains = zip(found.plddt.round(2).tolist(), found.ptm.round(4).tolist(), strict=True)
    return {"chains": [{"plddt": plddt, "ptm": ptm} for plddt, ptm in chains], "interfaces": pairs}


def _interface(found: Interfaces, of: Structure, a: int, b: int) -> dict[str, Any]:
    """Values of two chains, of both directions the better, and the residues of both that are in contact."""
    spans = of.chains[a].span, of.chains[b].span
    surface = [np.unique(side) + span.start for side, span in zip(contacts(of, *spans), spans, strict=True)]
    values = {"iptm": found.pair_ptm, "ipsae": found.ipsae, "pdockq": found.pdockq, "pdockq2": found.pdockq2}
    return {
        "pair": [a, b],
        **{name: round(float(max(value[a, b], value[b, a])), 4) for name, value in values.items()},
        "paeMin": round(float(min(found.pae_min[a, b], found.pae_min[b, a])), 2),
        "contacts": int(found.contacts[a, b]),
        "residues": np.concatenate(surface).tolist(),
    }


def _packed(data: bytes) -> str:
    """The data compressed by zlib, in base 64."""
    return base64.b64encode(zlib.compress(data, ZLIB_LEVEL)).decode()


def _upright(structure: Structure) -> torch.Tensor:
    """CA positions [i, 3] along their principal axes, the longest x and the shortest z, which is the line of sight."""
    places = torch.from_numpy(structure.positions[:, CA]).double()
    known = places[torch.from_numpy(structure.mask[:, CA])]
    middle = known.mean(0)
    axes = torch.linalg.eigh((known - middle).mT @ (known - middle)).eigenvectors.flip(1)
    return (places - middle) @ (axes * torch.linalg.det(axes).sign())  # a rotation, no reflection


def _motion(moving: Structure, fixed: Structure, target: torch.Tensor) -> list[list[float]]:
    """Rotation and translation, [3, 4], that superpose CA atoms on those of `fixed`, placed at `target` [i, 3]."""
    known = torch.from_numpy((moving.mask & fixed.mask)[:, CA])
    if known.sum() < 3:
        return np.eye(3, 4).tolist()
    motion = superpose(torch.from_numpy(moving.positions[:, CA]).double(), target, known.double())
    rows = torch.cat([motion.rotation, motion.translation[:, None]], dim=-1)
    return [[round(value, 6) for value in row] for row in rows.tolist()]
