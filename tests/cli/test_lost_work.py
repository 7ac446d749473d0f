"""Nothing that was folded is folded again: runs that are killed, and several that share an output folder.

Runs are killed at file operations drawn from a seed: two of each kind, and ten in `make test-kill`.
"""

import os
import random
from pathlib import Path

import pytest

from tests.cli.conftest import LONG, SHORT, results
from tests.cli.killed_command import command, passes
from tests.cli.test_fold import files_of

KILLS = int(os.environ.get("FOLDCLI_KILLS", "2"))
PREDICTIONS = [(job, seed) for job in "ab" for seed in range(3)]


def prepared(folder: Path) -> Path:
    folder.mkdir()
    (folder / "in.fasta").write_text(f">a\n{SHORT}\n>b\n{LONG}\n")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    folder = prepared(tmp_path_factory.mktemp("lost") / "whole")
    process = command(folder, "log", None)
    process.join()
    assert process.exitcode == 0 and passes(folder / "log") == PREDICTIONS
    return folder


def moments(whole: Path, seed: int) -> list[int]:
    """Numbers of the file operations at which to kill a run."""
    return sorted(random.Random(seed).sample(range(1, int((whole / "operations").read_text())), KILLS))


def require_same(folder: Path, whole: Path) -> None:
    """Everything is done, with the files of a whole run, and nothing is left beside it."""
    assert {record["status"] for record in results(folder / "out").values()} == {"done"}
    for job in "ab":
        assert files_of(folder / "out" / job) == files_of(whole / "out" / job)
    left = {path.name for path in (folder / "out").iterdir()} - {path.name for path in (whole / "out").iterdir()}
    assert not left


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_goes_on_from_the_predictions_it_made(number: int, whole: Path, tmp_path: Path) -> None:
    folder = prepared(tmp_path / "killed")
    process = command(folder, "log", moments(whole, 0)[number])
    process.join()
    assert process.exitcode == -9
    before = passes(folder / "log")
    process = command(folder, "log", None)
    process.join()
    assert process.exitcode == 0
    again = passes(folder / "log")[len(before) :]
    assert set(before) | set(again) == set(PREDICTIONS)
    # only the prediction that was being kept may be made twice
    assert set(before) & set(again) <= set(before[-1:])
    require_same(folder, whole)


def test_two_processes_share_the_records_of_a_folder(whole: Path, tmp_path: Path) -> None:
    folder = prepared(tmp_path / "shared")
    both = [command(folder, log, None) for log in ("one", "two")]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert sorted(passes(folder / "one") + passes(folder / "two")) == PREDICTIONS
    require_same(folder, whole)


@pytest.mark.parametrize("number", range(KILLS))
def test_one_process_does_what_a_killed_one_leaves(number: int, whole: Path, tmp_path: Path) -> None:
    folder = prepared(tmp_path / "shared")
    killed, other = command(folder, "one", moments(whole, 1)[number]), command(folder, "two", None)
    other.join()
    killed.join()
    assert other.exitcode == 0 and killed.exitcode in (-9, 0)  # 0: it did less than when it is alone
    require_same(folder, whole)
