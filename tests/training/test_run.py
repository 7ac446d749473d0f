"""A run: what is written, that it resumes to the bit, and that bad steps and bad settings are told."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from foldcli.compose import train_config
from foldcli.data.training.sample import Sample
from foldcli.errors import FoldcliError, InputError, Interrupted, WeightsError
from foldcli.folding.models import load_model, resolve
from foldcli.training.checkpoint import read_state
from foldcli.training.folder import SETTINGS, require_same_model
from tests.training.conftest import SMALL, Watched, begun


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder: Path) -> dict[int, float]:
    return {line["step"]: line["loss/total"] for line in lines_of(folder) if "loss/total" in line}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    begun(folder).train(Watched())
    return folder


def same(folder: Path, other: Path) -> bool:
    ours, theirs = load_file(folder / "last.safetensors"), load_file(other / "last.safetensors")
    return losses(folder) == losses(other) and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_leaves_all_that_it_learnt(whole: Path) -> None:
    assert sorted(losses(whole)) == list(range(6))
    assert [path.name for path in sorted((whole / "checkpoints").iterdir())] == [
        "step_00000002", "step_00000004", "step_00000006"
    ]  # fmt: skip
    assert {"config.yaml", "versions.json", "curves.png", "last.safetensors"} <= {p.name for p in whole.iterdir()}
    assert all(np.isfinite(loss) for loss in losses(whole).values())


def test_what_was_learnt_folds_without_naming_the_model(whole: Path) -> None:
    (source,) = resolve([], str(whole / "last.safetensors"), ["model.msa.max_clusters=3"])
    assert source.config.model.evoformer.blocks == 1 and source.config.model.msa.max_clusters == 3
    model = load_model(source, torch.device("cpu"), torch.float32)
    assert torch.equal(model.state_dict()["trunk.single.weight"], load_file(source.path or "")["trunk.single.weight"])


def started(folder: Path) -> subprocess.Popen[bytes]:
    """The command in a process of its own. All that are compared have one thread from their start on.

    MKL may pick other code, with other last bits, where a process is held to one thread later.
    """
    command = [sys.executable, "-m", "foldcli", "train", "--config", "tiny", "--out", str(folder), *SMALL, "device=cpu"]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """Bit for bit; the process dies by SIGKILL, wherever it is between its steps, or within the writing of a state."""
    uninterrupted, process = started(tmp_path / "whole"), started(tmp_path / "killed")
    log = tmp_path / "killed" / "log.jsonl"
    while not (log.is_file() and len(log.read_text().splitlines()) >= 3):
        time.sleep(0.02)
        assert process.poll() is None, "ended by itself"
    process.kill()
    process.wait()
    assert started(tmp_path / "killed").wait() == 0 and uninterrupted.wait() == 0
    assert same(tmp_path / "killed", tmp_path / "whole")


def test_other_hardware_is_told_on_resuming(whole: Path) -> None:
    versions = whole / "versions.json"
    for changes, told in {
        "": [],
        "device threads": ["device {device}, was other; threads {threads}, was other"],
    }.items():
        now = json.loads(versions.read_text())
        versions.write_text(json.dumps(now | dict.fromkeys(changes.split(), "other")))
        watched = Watched()
        begun(whole, watcher=watched)
        assert [line.partition("begun: ")[2] for line in watched.lines if "bit" in line] == [
            t.format(**now) for t in told
        ]
        assert json.loads(versions.read_text()) == now


def test_interrupted_by_the_user_finishes_its_step(whole: Path, tmp_path: Path) -> None:
    run = begun(tmp_path, "checkpoint.every=100")
    start = run.learner.start

    def interrupted_at_two(*args: Any) -> Any:
        if run.learner.number == 2:
            signal.raise_signal(signal.SIGINT)
        return start(*args)

    run.learner.start = interrupted_at_two  # type: ignore[method-assign]
    with pytest.raises(Interrupted, match="after 3 steps"):
        run.train(Watched())
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000003"]
    begun(tmp_path).train(Watched())
    assert same(tmp_path, whole)


def test_a_step_that_is_no_number_is_skipped_and_kept(tmp_path: Path) -> None:
    run = begun(tmp_path, "guard.give_up=2")
    before = [p.detach().clone() for p in run.learner.optimizer.parameters]
    take = run.loader.step

    def poisoned() -> list[Sample]:
        batches = take()
        batches[0].labels.positions.mul_(float("nan"))
        return batches

    run.loader.step = poisoned  # type: ignore[method-assign]
    with pytest.raises(FoldcliError, match="2 steps in a row could not be taken, the last for a loss of nan"):
        run.train(Watched())
    assert all(torch.equal(p, b) for p, b in zip(run.learner.optimizer.parameters, before, strict=True))
    kept = load_file(next((tmp_path / "skipped").glob("*_0.safetensors")))
    assert kept["labels.positions"].isnan().any() and kept["passes.0.aatype"].shape == (2, 16)


def test_a_damaged_or_foreign_state_is_named(whole: Path, tmp_path: Path) -> None:
    state = whole / "checkpoints" / "step_00000006"
    copy = tmp_path / "step_00000006"
    copy.mkdir()
    for file in state.iterdir():
        (copy / file.name).write_bytes(file.read_bytes()[:-100])
    with pytest.raises(FoldcliError, match="not a whole state of this run"):
        read_state(copy, begun(tmp_path / "other").learner.state())
    with pytest.raises(InputError, match="another 'model'"):
        begun(whole, "model.evoformer.blocks=2")


def test_a_run_goes_on_under_a_version_that_has_more_settings(whole: Path, tmp_path: Path) -> None:
    written = (whole / SETTINGS).read_text()
    older = re.sub(r"^ +(complexes|num_recycle|scalar_bias): .*\n", "", written, flags=re.MULTILINE)
    assert older != written
    (tmp_path / SETTINGS).write_text(older)
    require_same_model(tmp_path, train_config("tiny", [*SMALL]))


def test_the_latest_whole_state_is_resumed(whole: Path, tmp_path: Path) -> None:
    """Of three states the newest is cut; the run goes on from the one before, says so, and ends as without a fault."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    newest = folder / "checkpoints" / "step_00000006"
    for file in newest.iterdir():
        file.write_bytes(file.read_bytes()[:-100])
    watched = Watched()
    run = begun(folder, watcher=watched)
    assert run.learner.number == 4
    told = "left out, and renamed to step_00000006.damaged: " + str(newest)
    assert [line.startswith(told) for line in watched.lines[1:]] == [True, False]
    run.train(Watched())
    assert same(folder, whole)
    assert [path.name for path in run.checkpoints.steps()] == ["step_00000002", "step_00000004", "step_00000006"]


def test_a_run_without_a_whole_state_says_so(whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    for file in (folder / "checkpoints").rglob("*.*"):
        file.write_bytes(b"")
    with pytest.raises(FoldcliError, match=r"step_00000002: not a whole state .* --resume none begins anew") as error:
        begun(folder)
    assert "\n" not in str(error.value)
    assert not caplog.records  # torch logs a traceback


def test_one_training_at_a_time_writes_into_a_folder(tmp_path: Path) -> None:
    run = begun(tmp_path, "steps=2")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for resume in (True, False):
        with pytest.raises(InputError, match="another training writes there; give another --out"):
            begun(tmp_path, "steps=2", resume=resume)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    run.train(Watched())
    begun(tmp_path, "steps=2")


def test_rate_warms_up_and_cools_down() -> None:
    from foldcli.config import OptimizerConfig
    from foldcli.training.optimizer import learning_rate

    config = OptimizerConfig(rate=1.0, warmup_samples=100, cooldown_steps=9)
    assert [learning_rate(config, n, 1000) for n in (50, 100, 10**7)] == [0.5, 1.0, 0.95]
    assert [round(learning_rate(config, 200, left), 3) for left in (9, 4, 0)] == [1.0, 0.5, 0.1]


def test_a_short_time_is_not_lost(tmp_path: Path) -> None:
    """The schedule fits the time, and another machine goes on from the small file alone."""
    settings = ("steps=100000", "max_minutes=0.03", "optimizer.warmup_samples=0", "optimizer.cooldown_steps=100000")
    first, watched = tmp_path / "first", Watched()
    run = begun(first, *settings)
    run.train(watched)
    taken, rates = run.learner.number, [line["learning_rate"] for line in lines_of(first)]
    assert 0 < taken < 100000 and rates == sorted(rates, reverse=True)
    assert f"{taken} of 100000 steps fitted into 0.03 minutes" in watched.lines[0]
    averages = load_file(first / "averages.safetensors")
    assert {tensor.dtype for tensor in averages.values()} == {torch.bfloat16}

    for folder in (tmp_path / "second", tmp_path / "third"):
        folder.mkdir()
        (folder / "averages.safetensors").write_bytes((first / "averages.safetensors").read_bytes())
    watched = Watched()
    resumed = begun(tmp_path / "second", *settings, watcher=watched)
    assert resumed.learner.number == taken and "with a new optimiser" in watched.lines[-1]
    assert all(torch.equal(p.bfloat16(), averages[name]) for name, p in resumed.learner.model.named_parameters())
    with pytest.raises(WeightsError, match="of another model"):
        begun(tmp_path / "third", "model.evoformer.blocks=2")
