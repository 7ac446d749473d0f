"""Several ranks learn what one does, whether they share batches or samples."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.conftest import SMALL, Watched, begun

STEPS = ["steps=2", "device=cpu"]


def figures(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line[name] for line in lines for name in ("loss/total", "gradient_norm", "lddt")]


def test_a_mesh_of_four_equals_one(tmp_path: Path) -> None:
    """Two ranks share each sample, and two such pairs the batch."""
    begun(tmp_path / "one", *STEPS).train(Watched())
    arguments = ["--config", "tiny", "--gpus", "4", "--out", str(tmp_path / "four"), *SMALL, *STEPS, "dap=2"]
    command = [sys.executable, "-m", "foldcli", "train", *arguments]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, stderr=subprocess.DEVNULL)
    assert figures(tmp_path / "four") == pytest.approx(figures(tmp_path / "one"), rel=1e-5)
