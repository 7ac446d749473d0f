"""A real complex as a prediction, with aligned errors that follow its distances."""

from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import torch
from numpy.typing import NDArray

from foldcli.data.formats.pdb import read_pdb
from foldcli.model.confidence import aligned_tm_scores, chain_tm_scores, expected_aligned_error
from foldcli.protein.interfaces import interfaces, iptm
from foldcli.protein.residues import CA
from foldcli.protein.structure import Prediction, Structure

COMPLEX = Path(__file__).parents[1] / "golden" / "complex.pdb"
LAST_BREAK = 31.0


def structure() -> Structure:
    """Chains of 19 and 20 residues in contact, and a copy of the first, 40 angstrom away."""
    deposition = read_pdb(COMPLEX)
    first, second = (deposition.chain(polymer) for polymer in deposition.polymers)
    away = (first.positions + 40) * first.mask[..., None]
    lengths = len(first.sequence), len(second.sequence), len(first.sequence)
    return Structure(
        first.sequence + second.sequence + first.sequence,
        np.concatenate([first.positions, second.positions, away]),
        np.concatenate([first.mask, second.mask, first.mask]),
        np.concatenate([np.arange(1, length + 1) for length in lengths]),
        np.linspace(95, 45, sum(lengths)).astype(np.float32),
        chain_lengths=lengths,
    )


def dimer() -> Structure:
    """The two chains in contact."""
    of = structure()
    arrays = {name: getattr(of, name)[:39] for name in ("positions", "mask", "residue_index", "b_factor")}
    return replace(of, sequence=of.sequence[:39], chain_lengths=(19, 20), **arrays)


def logits(of: Structure) -> NDArray[np.float32]:
    """Made-up logits of the aligned error [i, j, 64]: larger errors further away, and not alike both ways."""
    places = of.positions[:, CA]
    distance = np.linalg.norm(places[:, None] - places, axis=-1)
    likely = 0.4 * distance * np.random.default_rng(0).uniform(0.5, 1.5, distance.shape)
    bins = (np.arange(64) + 0.5) * LAST_BREAK / 62
    return (-0.5 * np.abs(bins - np.minimum(likely, 31)[..., None])).astype(np.float32)


def complex_prediction(of: Structure | None = None) -> Prediction:
    of = of or structure()
    values = torch.from_numpy(logits(of))
    pae = expected_aligned_error(values, LAST_BREAK).numpy()
    scores = chain_tm_scores(values, LAST_BREAK, of.chain_lengths).numpy()
    ptm = float(aligned_tm_scores(values, LAST_BREAK, torch.ones(len(of.sequence))).max())
    return Prediction(
        of, of.b_factor, "model_1_multimer_v3", 0, 3, ptm=ptm, iptm=iptm(scores[..., 0], of),
        interfaces=interfaces(of, of.b_factor, pae, scores), pae=pae, max_pae=31.75,
    )  # fmt: skip


def read_chains(read: gemmi.Structure) -> dict[str, tuple[str, list[int]]]:
    """Of each chain of a file its letters and the numbers of its residues."""
    return {
        chain.name: (
            gemmi.one_letter_code([residue.name for residue in chain]),
            [residue.seqid.num for residue in chain],
        )
        for chain in read[0]
    }
