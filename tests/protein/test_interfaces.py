"""Confidence of interfaces on a real complex, against the papers' formulas in plain loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from foldcli.model.confidence import chain_tm_scores, predicted_tm_score
from foldcli.protein.interfaces import has_clash
from foldcli.protein.residues import ATOM37
from foldcli.protein.structure import Prediction
from tests.report.complexes import LAST_BREAK, complex_prediction, logits, structure

PREDICTED = complex_prediction()
PAE = PREDICTED.pae
ASYM = [0] * 19 + [1] * 20 + [2] * 19


def d0(length: int) -> float:
    """Yang and Skolnick 2004, Eq. 5."""
    return 1.24 * (max(length, 19) - 15) ** (1 / 3) - 1.8


def predicted_tm(align: list[int], length: int, pairs: bool) -> float:
    """Evans et al. 2021, Sec. 2.4, over some residues: the best residue, over all others, or those of other chains."""
    odds = np.exp(logits(structure()).astype(np.float64))
    chances = odds / odds.sum(-1, keepdims=True)
    best = 0.0
    for i in align:
        scored = [j for j in align if not pairs or ASYM[j] != ASYM[i]]
        total = 0.0
        for j in scored:
            for k in range(64):
                error = (k + 0.5) * LAST_BREAK / 62
                total += chances[i, j, k] / (1 + (error / d0(length)) ** 2)
        best = max(best, total / len(scored))
    return best


def members(*chains: int) -> list[int]:
    return [i for i, asym in enumerate(ASYM) if asym in chains]


def test_tm_scores_of_the_complex_its_pairs_and_its_chains() -> None:
    found = PREDICTED.interfaces
    assert found is not None
    everything = members(0, 1, 2)
    assert PREDICTED.ptm == pytest.approx(predicted_tm(everything, 58, pairs=False), abs=1e-6)
    assert PREDICTED.iptm == pytest.approx(predicted_tm(everything, 58, pairs=True), abs=1e-6)
    for a in range(3):
        assert found.pair_ptm[a, a] == pytest.approx(predicted_tm(members(a), 58, pairs=False), abs=1e-6)
        assert found.ptm[a] == pytest.approx(predicted_tm(members(a), len(members(a)), pairs=False), abs=1e-6)
        for b in range(a):
            expected = predicted_tm(members(a, b), 58, pairs=True)
            assert found.pair_ptm[a, b] == found.pair_ptm[b, a] == pytest.approx(expected, abs=1e-6)


def test_one_chains_score_is_its_ptm_and_rows_are_independent() -> None:
    values = torch.from_numpy(logits(structure()))
    whole = chain_tm_scores(values, LAST_BREAK, [58])
    expected = predicted_tm_score(values, LAST_BREAK, torch.ones(58))
    assert float(whole[:, 0, 0].max()) == pytest.approx(float(expected), abs=1e-6)
    some = torch.cat([chain_tm_scores(part, LAST_BREAK, [19, 20, 19]) for part in values.split(7)])
    torch.testing.assert_close(some, chain_tm_scores(values, LAST_BREAK, [19, 20, 19]))


def near(predicted: Prediction, a: int, b: int) -> list[tuple[int, int]]:
    """Pairs of residues of two chains whose CB (CA of glycine) are within 8 angstrom."""
    of = predicted.structure
    places = [of.positions[i, ATOM37.index("CA" if of.sequence[i] == "G" else "CB")] for i in range(len(of.sequence))]
    return [(i, j) for i in members(a) for j in members(b) if math.dist(places[i], places[j]) <= 8]


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, 0)])
def test_pdockq_and_pdockq2(a: int, b: int) -> None:
    """Bryant et al. 2022, Eq. 1; Zhu et al. 2023, Eq. 1, whose fit is rounded as in ipsae.py."""
    pairs, found = near(PREDICTED, a, b), PREDICTED.interfaces
    assert found is not None and PAE is not None and len(pairs) == 27
    surface = {i for i, _ in pairs} | {j for _, j in pairs}
    plddt = sum(float(PREDICTED.plddt[i]) for i in surface) / len(surface)
    x = plddt * math.log10(len(pairs))
    assert found.pdockq[a, b] == pytest.approx(0.724 / (1 + math.exp(-0.052 * (x - 152.611))) + 0.018, abs=1e-9)
    x = plddt * sum(1 / (1 + (float(PAE[i, j]) / 10) ** 2) for i, j in pairs) / len(pairs)
    assert found.pdockq2[a, b] == pytest.approx(1.31 / (1 + math.exp(-0.075 * (x - 84.733))) + 0.005, abs=1e-9)
    assert found.contacts[a, b] == 27
    assert found.pae_min[a, b] == min(PAE[i, j] for i in members(a) for j in members(b))


def test_without_contacts_there_is_no_interface() -> None:
    found = PREDICTED.interfaces
    assert found is not None
    assert found.contacts[0, 2] == found.pdockq[0, 2] == found.pdockq2[2, 0] == 0
    assert found.plddt[1] == pytest.approx(sum(map(float, PREDICTED.plddt[19:39])) / 20, abs=1e-6)


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, 0), (1, 2)])
@pytest.mark.parametrize("scale", [1.0, 0.05, 9.0])
def test_ipsae(a: int, b: int, scale: float) -> None:
    """Dunbrack 2025, Eqs. 14 to 16; small errors everywhere need d0 of more than 26 residues, large ones have none."""
    from foldcli.protein.interfaces import ipsae

    assert PAE is not None
    pae = np.tile(PAE * scale, (2, 2)).astype(np.float64)  # 40 residues of chain b
    columns = [j + k * 58 for k in range(2) for j in members(b)]
    best = 0.0
    for i in members(a):
        good = [j for j in columns if pae[i, j] < 15]
        reach = 1.24 * (len(good) - 15) ** (1 / 3) - 1.8 if len(good) >= 27 else 1.0
        best = max(best, sum(1 / (1 + (pae[i, j] / reach) ** 2) for j in good) / max(len(good), 1))
    assert ipsae(pae[np.ix_(members(a), columns)]) == pytest.approx(best, abs=1e-12)


def test_clashes_are_counted_as_in_alphafold_3() -> None:
    """A chain clashes when over half, or over a hundred, of its atoms are within 1.1 angstrom of foreign ones."""
    of = structure()
    assert not has_clash(of)
    upon = of.positions.copy()
    upon[39:58] = upon[:19]  # the copy upon the first chain
    assert has_clash(replace(of, positions=upon))
    few = of.positions.copy()
    few[39:42] = few[:3]  # 26 of 144 atoms
    assert not has_clash(replace(of, positions=few))
    neighbours = np.repeat(of.positions[::2], 2, axis=0)
    assert not has_clash(replace(of, positions=neighbours))  # residues upon their neighbours in the chain
    assert has_clash(replace(of, positions=np.repeat(of.positions[::3], 3, axis=0)[:58]))
