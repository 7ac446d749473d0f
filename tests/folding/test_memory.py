"""The predicted memory of a fold is close to the measured one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foldcli.autochunk import Chunked
from foldcli.autochunk.cost import DeviceRates
from foldcli.autochunk.graph import tensors
from foldcli.autochunk.planner import Planner
from foldcli.compose import fold_config
from foldcli.folding.chunking import blank_inputs, held_bytes
from foldcli.folding.memory import longest_that_fits, predicted_bytes, savings
from foldcli.model.alphafold import AlphaFold
from foldcli.system_memory import available_bytes, free_in_groups, is_lack_of_memory
from tests.golden.reference_run import ReferenceRun

# In a process of its own, whose peak is the fold's; its environment makes glibc return large blocks at once.
MEASURE = """
import torch
from foldcli.compose import fold_config
from foldcli.data.features.featurize import featurize
from foldcli.data.query import Query
from foldcli.system_memory import peak_bytes, reset_peak
from foldcli.folding.predict import predict
from foldcli.model.alphafold import AlphaFold

config = fold_config("tiny", ["model.structure.layers=1", "model.evoformer.blocks=1", "num_recycle=1"])
model, cpu = AlphaFold(config.model).eval().requires_grad_(False), torch.device("cpu")

def fold(length):
    query = Query("a", "a", "M" * length, "here")
    predict(model, query, featurize(query, config.model.msa, 0, 2), config, torch.float32, 0, lambda *told: None)

fold(16)
reset_peak(cpu)
before = peak_bytes(cpu)
fold(LENGTH)
print(peak_bytes(cpu) - before)
"""


def test_the_prediction_is_near_what_is_measured() -> None:
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE.replace("LENGTH", "320")],
        capture_output=True, text=True, check=True, env={"MALLOC_MMAP_THRESHOLD_": "1000000"},
    )  # fmt: skip
    predicted = predicted_bytes(fold_config("tiny").model, 320, 1, 4)
    assert 0.8 < predicted / int(measured.stdout) < 1.25


@pytest.mark.usefixtures("unchecked_shapes")
def test_templates_take_what_autochunk_counts() -> None:
    config, cpu = fold_config("mini", ["model.evoformer.blocks=1"]).model, torch.device("cpu")
    with torch.device("meta"):
        model = AlphaFold(config).eval().requires_grad_(False)
    chunked = Chunked(model, Planner.tightest, DeviceRates(1e12, 1e11, 1e10, 0.0, 1e-5))
    for length in (200, 400):
        inputs = blank_inputs(config, length, 1, cpu, torch.float32, templates=4)
        counted = chunked.planner(*inputs).whole().peak + held_bytes(inputs)
        assert 0.9 < predicted_bytes(config, length, 1, 4, templates=4) / counted < 1.2


def test_the_longest_that_fits_fits_and_no_longer_does() -> None:
    config, free = fold_config("model_3_ptm").model, 16 << 30
    for depth in (1, 10000):
        longest = longest_that_fits(config, free, depth, 4)
        assert predicted_bytes(config, longest, depth, 4) <= free < predicted_bytes(config, longest + 1, depth, 4)


def test_the_advice_names_what_would_help() -> None:
    assert savings(2, 1, 0) == "to save memory take a shorter sequence"
    assert savings(4, 5, 4) == (
        "to save memory take --precision bf16 or --no-templates or fewer rows (model.msa.max_extra=N) or a shorter "
        "sequence"
    )


def test_the_system_says_what_is_free() -> None:
    free = available_bytes(torch.device("cpu"))
    assert free is None or free > 1 << 20


@pytest.mark.parametrize(
    ("controllers", "top", "files", "none"),
    [("", "sys/fs/cgroup", ("max", "current", "inactive_file"), "max"),
     ("cpu,memory", "sys/fs/cgroup/memory", ("limit_in_bytes", "usage_in_bytes", "total_inactive_file"), str(2**63))],
)  # fmt: skip
def test_nested_limits_count(
    controllers: str, top: str, files: tuple[str, str, str], none: str, tmp_path: Path
) -> None:
    """A Slurm job of 8000 bytes with a task of 5000, of which the job's other task leaves 1500."""
    groups = {"": none, "slurm": none, "slurm/job_7": "8000", "slurm/job_7/task_0": "5000"}
    used = {"": 10**9, "slurm": 10**9, "slurm/job_7": 7000, "slurm/job_7/task_0": 1000}
    for group, limit in groups.items():
        folder = tmp_path / top / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"memory.{files[0]}").write_text(f"{limit}\n")
        (folder / f"memory.{files[1]}").write_text(f"{used[group]}\n")
        (folder / "memory.stat").write_text(f"anon 3\n{files[2]} 500\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"9:cpuset:/x\n4:{controllers}:/slurm/job_7/task_0\n")
    assert min(free_in_groups(tmp_path)) == 8000 - 7000 + 500
    (tmp_path / "proc/self/cgroup").write_text(f"4:{controllers}:/docker/not/seen/in/here\n")
    (tmp_path / top / f"memory.{files[0]}").write_text("3000000000\n")
    assert min(free_in_groups(tmp_path)) == 2 * 10**9 + 500


NO_MEMORY = (
    "could not create a primitive", "DefaultCPUAllocator: can't allocate memory",
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
    "CUDA driver error: out of memory",
    "Triton Error [CUDA]: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
)  # fmt: skip


@pytest.mark.parametrize("said", NO_MEMORY)
def test_a_lack_of_memory_is_recognised_in_any_librarys_words(said: str) -> None:
    assert is_lack_of_memory(RuntimeError(said))


def test_other_errors_are_no_lack_of_memory() -> None:
    assert not is_lack_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    errors = pytest.importorskip("triton.runtime.errors")
    # what a kernel asks of the chip is the same for a shorter plan
    assert not is_lack_of_memory(errors.OutOfResources(258048, 232448, "shared memory"))


def test_fake_inputs_of_a_complex_are_as_real_ones() -> None:
    """Those of a reference run: six templates of three chains share four slots."""
    real = ReferenceRun(Path(__file__).parents[1] / "golden" / "complex_templates").passes()[0]
    model = fold_config("model_4_multimer_v3", ["model.msa.max_clusters=16", "model.msa.max_extra=20"]).model
    fake, _ = blank_inputs(model, 20, 36, torch.device("cpu"), torch.float32, templates=6)
    assert [(x.shape, x.dtype) for x in tensors(fake)] == [(x.shape, x.dtype) for x in tensors(real)]
