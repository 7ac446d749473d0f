"""What the host does in a pass with every kernel, counted on CPU tensors: kernels are noted and none runs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def work() -> Any:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.kernels.host_work"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_operators_are_called_without_their_wrapper(work: Any) -> None:
    """It imports torch._dynamo when first called, which takes two seconds."""
    assert not work["dynamo"]


@pytest.mark.parametrize("length", ["32", "37"])
def test_block_launches_at_most_20_kernels_and_copies_nothing(work: Any, length: str) -> None:
    block = work["block"][length]
    assert block["operations"] == ["bmm", "bmm"]
    assert len(block["kernels"]) + len(block["operations"]) <= 20, block


def test_nothing_waits_for_a_gpu_within_a_pass(work: Any) -> None:
    """Values read, tables moved: a CUDA graph could hold none of these, and the host could not run ahead."""
    assert work["waits"] == []
