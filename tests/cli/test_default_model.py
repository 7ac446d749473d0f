"""`foldcli fold` without --model or cached parameters uses the model that comes with the package."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from foldcli.compose import model_config
from foldcli.data.training.shards import Shard
from foldcli.folding.api import load_model
from foldcli.folding.models import resolve
from foldcli.geometry.lddt import lddt
from foldcli.protein.residues import CA
from foldcli.protein.structure import Structure
from foldcli.report.pdb import pdb_text
from foldcli.weights import default
from tests.cli.conftest import Command, results

CHAINS = Path(__file__).parents[2] / "benchmarks" / "held_out_chains.npz"


def test_it_folds_and_says_how_good_it_is(command: Command, fasta: Path) -> None:
    outcome = command(fasta, "--no-templates", "--out", "out", usual="--num-recycle 0")
    assert outcome.code == 0, outcome.err
    assert results(Path("out"))["a"]["model"] == default.NAME
    assert f"{default.MEASURED} {default.measured(1, 0)}. {default.BETTER}" in outcome.out
    (pdb,) = Path("out/a").glob("*.pdb")
    lines = pdb.read_text().splitlines()
    assert {line[12:16].strip() for line in lines if line.startswith("ATOM")} == {"N", "CA", "C", "O", "CB"}
    assert any("backbone and CB only" in line for line in lines)


def test_seeds_that_would_give_the_same_are_made_once(command: Command, fasta: Path) -> None:
    usual = "--num-recycle 0 --no-templates --num-seeds 3 --random-seed 4"
    outcome = command(fasta, "--out", "out", usual=usual)
    said = "foldcli-mini draws nothing by its seed, so 3 seeds give one prediction"
    assert (outcome.code, outcome.out.count(said)) == (0, 2)
    assert [path.name[-25:] for path in Path("out/a").glob("*.pdb")] == ["_foldcli-mini_seed_004.pdb"[-25:]]
    assert said in Path("out/a/report.html").read_text()


def test_dropout_makes_seeds_differ(command: Command, fasta: Path) -> None:
    usual = "--num-recycle 0 --no-templates --num-seeds 2 --use-dropout"
    for rate, count in {0: 1, 0.25: 2}.items():
        outcome = command(fasta, "--out", f"out{rate}", f"model.evoformer.pair_dropout={rate}", usual=usual)
        assert (outcome.code, "nor does it have dropout" in outcome.out) == (0, rate == 0)
        found = [path.read_text().split("MODEL")[1] for path in Path(f"out{rate}/b").glob("*.pdb")]
        assert len(set(found)) == count
    again = command(fasta, "--out", "again", "model.evoformer.pair_dropout=0.25", usual=usual)
    assert again.code == 0
    assert {path.name: path.read_text() for path in Path("out0.25/b").glob("*.pdb")} == {
        path.name: path.read_text() for path in Path("again/b").glob("*.pdb")
    }


def test_it_stands_back_for_parameters_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDCLI_HOME", str(tmp_path))
    (packaged,) = resolve([], None, [])
    assert packaged.path == default.default_parameters() and packaged.path.stat().st_size < 20e6
    assert packaged.config.model == dataclasses.replace(model_config("mini"), name=default.NAME)
    (tmp_path / "params").mkdir()
    for number in range(1, 6):
        (tmp_path / "params" / f"params_model_{number}_ptm.npz").touch()
    assert [source.name for source in resolve([], None, [])] == [f"model_{number}_ptm" for number in range(1, 6)]
    (named,) = resolve([default.NAME], None, [])
    assert named.path == packaged.path


def test_it_has_learnt_to_fold() -> None:
    """A held-out chain from its sequence alone; an untrained model, its peptides closed, has an lDDT of 0.32."""
    chain = Shard(CHAINS).load(7)
    predicted = load_model(default.NAME, templates=False, num_recycle=1).predict(chain.sequence)
    true, known = torch.from_numpy(chain.positions[:, CA]), torch.from_numpy(chain.mask[:, CA]).float()
    assert float(lddt(torch.from_numpy(predicted.structure.positions[:, CA]), true, known)) > 0.5


def test_a_near_identical_relative_is_followed_and_bettered(tmp_path: Path) -> None:
    """A long beta protein, with its own structure as the template, each residue 0.5 angstrom off on each axis."""
    chains = Shard(CHAINS)
    chain = chains.load([str(name) for name in chains.arrays["names"]].index("4G7N_A"))
    moved = np.random.default_rng(0).normal(scale=0.5, size=(len(chain.sequence), 1, 3)) * chain.mask[..., None]
    near = (chain.positions + moved).astype(np.float32)
    structure = Structure(chain.sequence, near, chain.mask, np.arange(1, len(near) + 1), np.zeros(len(near)))
    (tmp_path / "near.pdb").write_text(pdb_text(structure))
    model = load_model(default.NAME, template=[str(tmp_path / "near.pdb")], num_recycle=1)
    true, known = torch.from_numpy(chain.positions[:, CA]), torch.from_numpy(chain.mask[:, CA]).float()
    folded = model.predict(chain.sequence).structure.positions[:, CA]
    made, copied = (float(lddt(torch.from_numpy(atoms), true, known)) for atoms in (folded, near[:, CA]))
    assert made > max(copied, 0.88)
