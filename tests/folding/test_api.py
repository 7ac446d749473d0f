"""The Python interface: the same files and records as the command, predictions in memory, errors as exceptions."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldcli import FoldcliError, fold, load_model
from foldcli.data.formats.fasta import read_queries
from foldcli.errors import InputError, WeightsError
from foldcli.folding.models import load_model as read_model
from foldcli.folding.models import resolve
from foldcli.weights.files import write_safetensors
from tests.cli.conftest import LONG, SHORT, Command, command, fasta, results

__all__ = ["command", "fasta"]  # fixtures

TINY: dict[str, Any] = {"weights": "untrained", "num_recycle": 1}


def test_python_and_the_command_do_the_same(command: Command, fasta: Path) -> None:
    Path("b.a3m").write_text(f">b\n{LONG}\n>r\n{LONG[:-1]}-\n")
    records = fold(fasta, "out", models="tiny", msa="b.a3m", sort="longest", **TINY)
    assert [(record.job, record.status, record.depth) for record in records] == [("a", "done", 1), ("b", "done", 2)]
    assert [dataclasses.asdict(record) for record in records] == [results(Path("out"))[name] for name in "ab"]
    again = command(fasta, "--out", "out", "--msa", "b.a3m", usual="--model tiny --weights untrained --num-recycle 1")
    assert again.err.count("(done before)") == 2


def test_a_model_predicts_in_memory_what_a_run_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fold(SHORT, "out", models=["tiny"], **TINY)
    model = load_model("tiny", overrides=["random_seed=0"], **TINY)
    before = sorted(tmp_path.rglob("*"))
    prediction = model.predict(SHORT)
    assert sorted(tmp_path.rglob("*")) == before
    scores = json.loads(next(Path("out/query").glob("query_scores_*.json")).read_text())
    assert prediction.plddt == pytest.approx(scores["plddt"], abs=0.01)
    assert prediction.structure.sequence == SHORT

    Path("one.a3m").write_text(f">one\n{LONG}\n>r\n{LONG[:-1]}-\n")
    shown = [model.predict(LONG).plddt, model.predict(LONG, msa="one.a3m").plddt, model.predict("one.a3m").plddt]
    assert np.array_equal(shown[1], shown[2])
    assert not np.array_equal(shown[0], shown[1])


def test_a_file_that_describes_its_model_is_a_model(tmp_path: Path) -> None:
    (source,) = resolve(["tiny"], "untrained", [])
    model = load_model("tiny", **TINY)
    state = read_model(source, model.device, model.precision).state_dict()
    described = {"model": json.dumps(dataclasses.asdict(source.config.model))}
    write_safetensors(tmp_path / "mine.safetensors", state, described)
    mine = load_model(tmp_path / "mine.safetensors", num_recycle=1)
    assert np.array_equal(mine.predict(SHORT).plddt, model.predict(SHORT).plddt)


def test_queries_of_one_name_are_all_folded(tmp_path: Path, fasta: Path) -> None:
    a, b = read_queries(fasta)
    records = fold([a, dataclasses.replace(b, name="a")], tmp_path / "out", models="tiny", **TINY)
    assert [(record.job, record.length) for record in records] == [("a", 10), ("a_2", 14)]


def test_what_is_wrong_is_an_error_of_foldcli(tmp_path: Path, fasta: Path) -> None:
    model = load_model("tiny", **TINY)
    with pytest.raises(InputError, match=r"two.fasta: record 1 is one of 2; predict them one by one, or fold the file"):
        model.predict(fasta)
    with pytest.raises(InputError, match="has only X; give at least one"):
        model.predict("XXX")
    with pytest.raises(InputError, match=r"nlyiq: no such file"):
        fold("nlyiq", tmp_path / "out", models="tiny", **TINY)
    with pytest.raises(InputError, match="no key 'recycles'; there is autochunk"):
        load_model("tiny", weights="untrained", recycles=3)
    with pytest.raises(InputError, match="'num_recycle' is '3', expected int"):
        load_model("tiny", weights="untrained", num_recycle="3")
    with pytest.raises(WeightsError, match=r"gone.safetensors: no such file"):
        load_model("gone.safetensors")
    with pytest.raises(InputError, match="gpus=2: from Python start as many ranks with torchrun"):
        fold(SHORT, tmp_path / "out", models="tiny", gpus=2, device="cpu", **TINY)
    with pytest.raises(InputError, match="gpus=2: a model is loaded on one device"):
        load_model("tiny", gpus=2, **TINY)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("unchecked_shapes")
def test_where_memory_ends_unforeseen_the_error_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("foldcli.folding.predictor.predict", failing)
    with pytest.raises(FoldcliError, match="query: out of memory; to save memory take --precision bf16"):
        load_model("tiny", **TINY).predict(SHORT)


def test_the_front_of_the_package_imports_nothing_heavy() -> None:
    code = "import sys, foldcli; foldcli.FoldcliError; sys.exit(len({'torch', 'numpy', 'hydra'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(ImportError, match="cannot import name 'unfold'"):
        from foldcli import unfold  # type: ignore[attr-defined]  # noqa: F401
