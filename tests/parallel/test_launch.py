"""Several ranks give the result of one, and however a rank or the launcher ends, no process is left."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gemmi
import numpy as np
import pytest
import torch

from foldcli.errors import InputError
from foldcli.parallel.launch import require_devices

SEQUENCES = {"a": "NLYIQWLKDG", "b": "TTCCPSIVARSNFN", "c": "MQIFVKTLTGKTI"}
LONG = 40 * SEQUENCES["a"]  # takes long enough to be interrupted


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "in.fasta"
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in SEQUENCES.items()))
    return path


def begin(fasta: Path, out: str, *arguments: str) -> subprocess.Popen[str]:
    """Start `foldcli fold` with untrained parameters in the background."""
    command = [sys.executable, "-m", "foldcli", "fold", str(fasta), "--model", "tiny", "--weights", "untrained"]
    command += ["--device", "cpu", "--out", str(fasta.parent / out), *arguments]
    # Large arrays are then mapped anew, never taken from freed ones: a memory limit shows at the next allocation.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def alphas(folder: Path) -> np.ndarray:
    """CA coordinates of a job's best structure, in angstrom."""
    (path,) = folder.glob("*.cif")
    chain = gemmi.read_structure(str(path))[0][0]
    return np.array([residue["CA"][0].pos.tolist() for residue in chain])


def test_several_ranks_give_the_structures_of_one(fasta: Path) -> None:
    """Two groups of two ranks, each of which takes whole proteins."""
    runs = [begin(fasta, "one", "--num-recycle", "1")]
    runs += [begin(fasta, "several", "--num-recycle", "1", "--gpus", "4", "--dap", "2")]
    for run in runs:
        out, err = run.communicate(timeout=240)
        assert run.returncode == 0, err
        assert out.count("UNTRAINED") == 1
    assert err.count("3 jobs") == 1
    assert all(err.count(f"{name}: pLDDT") == 1 for name in SEQUENCES)
    for name in SEQUENCES:
        one, several = (alphas(fasta.parent / out / name) for out in ("one", "several"))
        assert np.abs(one - several).max() < 1.5e-3  # the file has three decimals


def test_more_gpus_than_there_are_end_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device in ("auto", "cuda"):
        with pytest.raises(InputError, match="--gpus 3: this machine has 2; take fewer, or --device cpu"):
            require_devices(device, 3, "--device cpu")
        require_devices(device, 2, "--device cpu")
    require_devices("cpu", 3, "--device cpu")


def of_rank(launcher: int, rank: int) -> int:
    """The process id of a launcher's rank."""
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "environ").read_bytes().split(b"\0") if folder.name.isdigit() else []
            if f"RANK={rank}".encode() in words and int((folder / "stat").read_text().split()[3]) == launcher:
                return int(folder.name)
        except (OSError, IndexError):
            continue
    raise AssertionError(f"no rank {rank}")


@pytest.fixture
def folding(fasta: Path) -> Iterator[subprocess.Popen[str]]:
    """A launcher whose two ranks have finished a short job and begin a long one, which takes seconds."""
    fasta.write_text(f">a\n{SEQUENCES['a']}\n>long\n{LONG}\n")
    run = begin(fasta, "out", "--gpus", "2", "--dap", "2")
    assert run.stderr is not None
    assert any("long: 400 residues" in line for line in run.stderr)
    yield run
    run.kill()
    run.communicate()


def ended(run: subprocess.Popen[str], ranks: list[int]) -> list[str]:
    """Lines of stderr of a run, once it has ended and no rank is left; the limits are for busy machines."""
    _, err = run.communicate(timeout=240)
    until = time.monotonic() + 60
    while any(map(alive, ranks)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, ranks))
    return err.strip().splitlines()


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def statuses(out: Path) -> dict[str, str]:
    """Each job's status in the table; the finished job must have all its files, the other no folder."""
    assert all((out / "a" / name).is_file() for name in json.loads((out / "a" / "job.json").read_text())["files"])
    assert not (out / "long").exists()
    records = map(json.loads, (out / "results.jsonl").read_text().splitlines())
    return {record["job"]: record["status"] for record in records}


def test_a_killed_rank_ends_the_others(folding: subprocess.Popen[str], fasta: Path) -> None:
    ranks = [of_rank(folding.pid, rank) for rank in (0, 1)]
    os.kill(ranks[1], signal.SIGKILL)
    assert "rank 1 was ended by SIGKILL" in ended(folding, ranks)[-1]
    assert folding.returncode == 128 + signal.SIGKILL
    assert statuses(fasta.parent / "out")["a"] == "done"


def test_no_rank_outlives_its_launcher(folding: subprocess.Popen[str], fasta: Path) -> None:
    ranks = [of_rank(folding.pid, rank) for rank in (0, 1)]
    folding.kill()
    ended(folding, ranks)
    assert statuses(fasta.parent / "out")["a"] == "done"


def test_ctrl_c_ends_all_ranks_with_true_tables(folding: subprocess.Popen[str], fasta: Path) -> None:
    ranks = [of_rank(folding.pid, rank) for rank in (0, 1)]
    folding.send_signal(signal.SIGINT)
    lines = ended(folding, ranks)
    assert (folding.returncode, lines[-1][:21]) == (130, "foldcli: interrupted;")
    assert statuses(fasta.parent / "out") == {"a": "done", "long": "interrupted"}


def test_one_rank_without_memory_ends_all_and_says_so(folding: subprocess.Popen[str], fasta: Path) -> None:
    ranks = [of_rank(folding.pid, rank) for rank in (0, 1)]
    pages = int(Path(f"/proc/{ranks[1]}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2**25  # enough to end in order, too little to fold
    resource.prlimit(ranks[1], resource.RLIMIT_AS, (limit, limit))
    lines = ended(folding, ranks)
    assert lines[-1].startswith("foldcli: long: rank 1: out of memory; ")
    assert folding.returncode == 1
    assert statuses(fasta.parent / "out")["a"] == "done"
