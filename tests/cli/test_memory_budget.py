"""`foldcli fold --memory-budget`, and `--dry-run`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from foldcli.folding.forecast import Forecaster
from tests.cli.conftest import Command, results

pytestmark = pytest.mark.usefixtures("unchecked_shapes")
SMALL = "model.structure.layers=1 model.evoformer.blocks=1 --model tiny --weights untrained"


@pytest.fixture
def longer(tmp_path: Path) -> Path:
    path = tmp_path / "longer.fasta"
    path.write_text(f">a\n{'NLYIQWLKDG' * 7}\n")
    return path


def coordinates(out: str) -> np.ndarray:
    lines = next(Path(out, "a").glob("*.pdb")).read_text().splitlines()
    return np.array([[float(line[at : at + 8]) for at in (30, 38, 46)] for line in lines if line.startswith("ATOM")])


def test_a_fold_in_slices_is_the_same_fold(command: Command, longer: Path) -> None:
    usual = f"{SMALL} --num-recycle 1"
    assert command(longer, "--out", "whole", usual=usual).code == 0
    sliced = command(longer, "--out", "sliced", "--memory-budget", "5MiB", usual=usual)
    assert sliced.code == 0, sliced.out
    assert np.abs(coordinates("whole") - coordinates("sliced")).max() < 0.01
    none = command(longer, "--out", "none", "--memory-budget", "0.5MiB", usual=usual)
    assert none.code == 1
    error = results(Path("none"))["a"]["error"]
    assert re.search(
        r"no plan fits: at least \d+ [KM]iB are needed beside the parameters, and \d+ KiB may be taken", error
    )
    assert error.endswith("to save memory take --precision bf16 or a shorter sequence")  # of one row none can go


def test_what_was_too_much_is_folded_again_by_a_tighter_plan(
    command: Command, longer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import foldcli.folding.predictor as predictor

    predict, models = predictor.predict, []

    def failing(model: torch.nn.Module, *arguments: object) -> object:
        models.append(type(model).__name__)
        if len(models) == 1:
            raise MemoryError
        return predict(model, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(predictor, "predict", failing)
    assert command(longer, "--out", "out").code == 0
    assert models == ["FoldingModel", "Chunked"]


def test_a_dry_run_says_what_would_be_taken_and_folds_nothing(command: Command, longer: Path) -> None:
    outcome = command(longer, "--out", "out", "--memory-budget", "5MiB", "--dry-run", usual=SMALL)
    assert outcome.code == 0
    assert not Path("out").exists()
    row = next(line for line in outcome.out.splitlines() if " a " in line)
    cells = [cell.strip() for cell in row.split("│")[1:-1]]
    assert cells[:3] == ["a", "tiny", "70"]
    assert "chunks of axis" in cells[-1]
    assert re.fullmatch(r"\d+ MiB", cells[4]) and re.fullmatch(r"[1-5] MiB", cells[5])
    assert int(cells[7]) > 40


def test_a_dry_run_plans_for_each_of_the_ranks_that_share_a_job(command: Command, longer: Path) -> None:
    """A budget counts as it is given, be it more than this machine has."""
    usual = f"{SMALL} --device cpu --dry-run --json"
    (alone,) = command(longer, "--memory-budget", "64TiB", usual=usual).out.splitlines()
    (shared,) = command(longer, "--memory-budget", "2GiB", "--gpus", "3", "--dap", "3", usual=usual).out.splitlines()
    one, three = json.loads(alone), json.loads(shared)
    assert (one["event"], one["job"], one["tokens"]) == ("forecast", "a", 70)
    assert three["planned"] < one["planned"]
    assert (list(one["longest"]), list(three["longest"])) == (["1"], ["1", "3"])
    assert max(three["longest"].values()) < 100_000 < one["longest"]["1"]


def test_a_dry_run_says_that_nothing_fits_and_what_to_do(command: Command, longer: Path) -> None:
    for options in (["--memory-budget", "1MiB"], ["--memory-budget", "5MiB", "--no-autochunk"]):
        outcome = command(longer, "--out", "out", *options, "--dry-run", usual=SMALL)
        assert outcome.code == 0
        cells = [cell.strip() for cell in outcome.out.splitlines()[3].split("│")[1:-1]]
        assert cells[5:7] == ["does not fit", ""]
        assert cells[-1] == "none fits; to save memory take --precision bf16 or a shorter sequence"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--dap 2", "--dap 2: there is one process; add --gpus 2"),
        ("--initial-guess none.cif", "none.cif: no such file"),
        ("--template none.cif", "--template none.cif: no such file or folder"),
        ("--template-hits none.m8 --template-dir .", "none.m8: no such file"),
        ("--first-residue 9990", "--first-residue 9990: the last residue has number 10059"),
        ("--relax best", "(a): --relax best takes up to 60 residues on the CPU, where more takes hours, in up to 62"),
        ("--msa-mode server --host-url nowhere", "nowhere"),
        ("--msa-only", "--dry-run: tells what folds would take, and --msa-only folds nothing"),
    ],
)
def test_a_dry_run_refuses_what_a_run_refuses(
    command: Command, longer: Path, options: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldcli.folding.relax.MOST_ON_CPU", 60)
    outcome = command(longer, *options.split(), "--dry-run", usual=SMALL)
    assert outcome.code == 2 and reason in outcome.error


def test_a_dry_run_plans_once_for_models_that_differ_in_their_weights(
    command: Command, longer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, forecast = [], Forecaster.forecast
    monkeypatch.setattr(Forecaster, "forecast", lambda self, query: planned.append(1) or forecast(self, query))
    models = "--model model_3_ptm --model model_4_ptm --weights untrained"
    shallow = "model.evoformer.blocks=1 model.extra_msa.blocks=1 model.structure.layers=1"
    outcome = command(longer, "--out", "out", "--dry-run", usual=f"{shallow} {models}")
    assert outcome.code == 0
    rows = [line.split("│")[2:9] for line in outcome.out.splitlines() if " a " in line]
    assert [row[0].strip() for row in rows] == ["model_3_ptm", "model_4_ptm"]
    assert rows[0][1:] == rows[1][1:]
    assert len(planned) == 1


def test_a_budget_that_is_no_amount_is_named(command: Command, longer: Path) -> None:
    assert (
        "--memory-budget 12 potatoes: no amount of memory; give one such as 12GiB"
        in command(longer, "--memory-budget", "12 potatoes").error
    )
