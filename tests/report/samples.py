"""Random predictions and provenances."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from foldcli.protein.residues import ATOM37_MASK, INDEX, LETTERS_X
from foldcli.protein.structure import Prediction, Structure
from foldcli.report.provenance import Provenance


def prediction(sequence: str, seed: int = 0, *, ptm: bool = True, first: int = 1, complete: bool = True) -> Prediction:
    """A prediction of `sequence` with random values; complete: false leaves out a third of the atoms."""
    rng = np.random.default_rng(seed)
    length = len(sequence)
    mask = ATOM37_MASK[[INDEX[letter] for letter in sequence]] > 0
    if not complete:
        mask &= rng.random(mask.shape) < 0.67
    positions = rng.uniform(-500, 500, (length, 37, 3)).astype(np.float32)
    plddt = rng.uniform(0, 100, length).astype(np.float32)
    structure = Structure(sequence, positions, mask, np.arange(first, first + length), plddt)
    pae = rng.uniform(0, 31.75, (length, length)).astype(np.float32) if ptm else None
    confidence = {"ptm": float(rng.random()), "pae": pae, "max_pae": 31.75} if ptm else {}
    return Prediction(structure, plddt, "model_1_ptm" if ptm else "model_1", seed, 3, **confidence)


def provenance(name: str = "job", title: str = "a title", *, trained: bool = True, depth: int = 12) -> Provenance:
    return Provenance(name, title, "1.2.3", "AlphaFold 2022-12-06, CC BY 4.0", trained, depth)


predictions = st.builds(
    prediction,
    st.text(LETTERS_X, min_size=1, max_size=12),
    st.integers(0, 2**32 - 1),
    ptm=st.booleans(),
    first=st.integers(1, 9900),
    complete=st.booleans(),
).filter(lambda predicted: bool(predicted.structure.mask.any()))
provenances = st.builds(provenance, st.text(min_size=1), st.text(), trained=st.booleans(), depth=st.integers(1, 9))


def moved(one: Prediction, seed: int) -> Prediction:
    """The same chain, rotated and translated."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    positions = (one.structure.positions @ turn + rng.normal(0, 30, 3)).astype(np.float32)
    return replace(one, structure=replace(one.structure, positions=positions), seed=seed)
