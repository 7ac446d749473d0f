"""The predicted memory of a training step is close to the measured one, and what does not fit is refused."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foldcli.data.training.micro_batch import MicroBatches
from foldcli.data.training.open_source import open_source
from foldcli.errors import FoldcliError, InputError
from foldcli.parallel.mesh import RankMesh
from foldcli.parallel.peak_memory import peak_cpu_bytes
from foldcli.training import memory
from foldcli.training.begin import new_model
from foldcli.training.learner import Learner
from foldcli.training.memory import COPIES, kept_bytes
from tests.training.conftest import Watched, begun, small

FEW = ["sample.crop=8", "sample.max_recycle=0"]
OVERRIDES = ["micro_batch=1", "batch_size=1", "sample.crop=160", "sample.max_recycle=0"]
# In a process of its own, whose peak is the step's; its environment makes glibc return large blocks at once.
MEASURE = """
import sys, torch
from foldcli.data.training.micro_batch import MicroBatches
from foldcli.data.training.open_source import open_source
from foldcli.parallel.mesh import RankMesh
from foldcli.system_memory import peak_bytes, reset_peak
from foldcli.training.begin import new_model
from foldcli.training.learner import Learner
from tests.training.conftest import small

config, cpu = small(*sys.argv[1:]), torch.device("cpu")
learner = Learner(new_model(config, cpu, RankMesh()), config, RankMesh())
sample = MicroBatches(open_source(config.train, "train"), config)((0, 0)).sample
reset_peak(cpu)
before = peak_bytes(cpu)
learner.learn([sample])
print(peak_bytes(cpu) - before)
"""


def test_the_prediction_is_near_what_is_measured() -> None:
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, *OVERRIDES],
        capture_output=True, text=True, check=True, env={"MALLOC_MMAP_THRESHOLD_": "1000000"},
    )  # fmt: skip
    assert 0.7 < kept_bytes(small(*OVERRIDES), 160) / int(measured.stdout) < 1.4


@pytest.mark.parametrize("matrices", ["adam", "muon"])
def test_parameters_have_as_many_copies_as_predicted(matrices: str) -> None:
    config = small("micro_batch=1", "batch_size=1", "model=mini", f"optimizer.matrices={matrices}", *FEW)
    learner = Learner(new_model(config, torch.device("cpu"), RankMesh()), config, RankMesh())
    sample = MicroBatches(open_source(config.train, "train"), config)((0, 0)).sample
    assert sample is not None
    learner.learn([sample])
    held = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in learner.state().values()}
    unsaved = learner.optimizer.gradient.nbytes + learner.optimizer.muon.where.nbytes
    copies = sum(held.values()) + unsaved + peak_cpu_bytes(lambda: learner.learn([sample]))
    assert copies / sum(p.nbytes for p in learner.model.parameters()) == pytest.approx(COPIES[matrices], abs=0.3)


@pytest.mark.parametrize("recompute", ["recompute=false", "recompute=true"])
def test_a_crop_that_does_not_fit_is_refused_with_one_that_does(
    recompute: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: 4 << 30)
    with pytest.raises(InputError, match=r"sample.crop=100000: a step needs about \d+\.\d\d GiB and 4.00 GiB") as error:
        begun(tmp_path / "run", "sample.crop=100000", recompute)
    assert not list(tmp_path.iterdir())
    fits = int(str(error.value).partition("a crop of ")[2].split()[0])
    assert 200 < fits < 2000
    begun(tmp_path / "run", f"sample.crop={fits}", recompute)
    with pytest.raises(InputError):
        begun(tmp_path / "other", f"sample.crop={fits + 1}", recompute)


def test_memory_that_runs_out_is_told_with_a_way_out(tmp_path: Path) -> None:
    run = begun(tmp_path)

    def failing(batches: object, position: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 TiB")

    run.learner.start = failing  # type: ignore[method-assign, assignment]
    with pytest.raises(FoldcliError, match=r"out of memory in step 0; lower sample\.crop or micro_batch"):
        run.train(Watched())
