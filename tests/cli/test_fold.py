"""`foldcli fold` from end to end: its files, resuming, and jobs that fail."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from foldcli.compose import fold_config
from foldcli.folding import memory
from foldcli.weights.alphafold import published_shapes
from foldcli.weights.seeded import seeded_parameters
from tests.cli.conftest import LONG, SHORT, Command, results


def files_of(folder: Path) -> dict[str, bytes]:
    """The contents of a job's files, without those that hold times."""
    times = ("timings.json", "job.json", "report.html")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in times}


def test_a_run_leaves_every_file_and_true_tables(command: Command, fasta: Path) -> None:
    Path("msa").mkdir()
    Path("msa", "b.a3m").write_text(f">b\n{LONG}\n>r\n{LONG[:-1]}-\n")
    usual = "--model tiny --weights untrained --num-recycle 1"
    outcome = command(fasta, "--msa", "msa", "--out", "out", usual=usual)
    assert outcome.code == 0
    lines = outcome.err.splitlines()
    assert "on cpu in float32 with tiny, UNTRAINED parameters" in lines[0]
    assert "2 jobs" in lines[0]
    assert "a: 10 residues, single sequence (no alignment), tiny seed 0" in lines
    assert "b: 14 residues, alignment of 2 sequences, tiny seed 0" in lines
    assert "UNTRAINED" in outcome.out
    assert str(Path("out", "a")) in outcome.out

    record = results(Path("out"))["b"]
    assert (record["status"], record["length"], record["depth"], record["trained"]) == ("done", 14, 2, False)
    assert sorted([*record["files"], "job.json"]) == sorted(path.name for path in Path("out/b").iterdir())
    rank = "rank_001_tiny_seed_000"
    expected = [f"b_unrelaxed_{rank}.pdb", f"b_unrelaxed_{rank}.cif", f"b_scores_{rank}.json", "b_pae.png"]
    expected += [f"b_predicted_aligned_error_{rank}.json", "b_plddt.png", "b_coverage.png", "timings.json", "b.a3m"]
    expected += ["b_summary_confidences.json", "ranking_scores.csv", "report.html", "cite.bibtex"]
    assert sorted(record["files"]) == sorted(expected)
    with Path("out/summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["job"], row["status"]) for row in rows] == [("a", "done"), ("b", "done")]
    assert {"length", "depth", "plddt", "ptm", "seconds", "memory_gib", "error"} <= rows[0].keys()

    timings = json.loads(Path("out/b/timings.json").read_text())
    phases = ("features", "pass_0", "pass_1", "confidence")
    made = [f"tiny_seed_000_{phase}" for phase in phases]
    writing = ["wait_for_files", "write", "plots", "other", "report"]
    assert list(timings) == ["between_jobs", "plan", *made, *writing]
    first = json.loads(Path("out/a/timings.json").read_text())
    assert list(first)[:3] == ["start", "tiny_load", "between_jobs"]
    assert [name for name in first if name not in timings] == ["start", "tiny_load"]

    command(fasta, "--msa", "msa", "--out", "again", usual=usual)
    for name in ("a", "b"):
        assert files_of(Path("out", name)) == files_of(Path("again", name))


def test_timings_account_for_every_second(tmp_path: Path) -> None:
    """From the start of the process to its end; the first job's files are written beside the second fold."""
    (tmp_path / "in.fasta").write_text(f">a\n{SHORT}\n>b\n{LONG}\n")
    arguments = "fold in.fasta --out out --model tiny --weights untrained --num-recycle 0".split()
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "foldcli", *arguments], cwd=tmp_path, capture_output=True, check=True)
    wall = time.perf_counter() - begun
    timings = [json.loads((tmp_path / "out" / job / "timings.json").read_text()) for job in "ab"]
    behind = sum(timings[0][phase] for phase in ("write", "plots", "report"))
    assert sum(sum(each.values()) for each in timings) - behind == pytest.approx(wall, rel=0.05)
    assert timings[0]["start"] > 0.2
    assert sum(each["other"] for each in timings) < 0.1 * wall


def test_models_and_seeds_are_ranked_together(command: Command, fasta: Path) -> None:
    save = "--save-single-representations --save-pair-representations --num-seeds 2 --random-seed 7 --rank-by ptm"
    small = [f"model.{stack}.blocks=1" for stack in ("evoformer", "extra_msa")]
    small += ["model.evoformer.c_m=32", "model.extra_msa.c_m=16", "model.c_z=16", "model.structure.layers=1"]
    models = "--model tiny --model model_3_ptm --weights untrained"
    assert command(fasta, "--out", "out", *save.split(), *small, "num_recycle=0", usual=models).code == 0
    ptm = [json.loads(path.read_text())["ptm"] for path in sorted(Path("out/b").glob("b_scores_rank_*.json"))]
    assert len(ptm) == 4
    assert ptm == sorted(ptm, reverse=True)
    names = [path.stem.partition("_rank_")[2] for path in sorted(Path("out/b").glob("*.pdb"))]
    assert [name[:3] for name in names] == ["001", "002", "003", "004"]
    assert {name[4:] for name in names} == {f"{m}_seed_{s}" for m in ("tiny", "model_3_ptm") for s in ("007", "008")}
    assert f"{results(Path('out'))['b']['model']}_seed_00{results(Path('out'))['b']['seed']}" == names[0][4:]
    pair = np.load(Path(f"out/b/b_pair_repr_rank_{names[0]}.npy"), allow_pickle=False)
    single = np.load(Path(f"out/b/b_single_repr_rank_{names[0]}.npy"), allow_pickle=False)
    assert (pair.shape, single.shape[0], pair.dtype) == ((14, 14, 16), 14, np.float32)


def test_a_zip_holds_the_finished_folder(command: Command, fasta: Path) -> None:
    assert command(fasta, "--out", "out").code == 0
    assert command(fasta, "--out", "out", "--zip").err.count("(done before)") == 2
    with zipfile.ZipFile("out/b.zip") as archive:
        assert archive.testzip() is None
        held = {Path(name).name: archive.read(name) for name in archive.namelist()}
    assert held == {path.name: path.read_bytes() for path in Path("out/b").iterdir()}
    Path("out/b.zip").write_text("of an earlier fold")
    assert command(fasta, "--out", "out", "--zip", "--random-seed", "1").code == 0
    with zipfile.ZipFile("out/b.zip") as archive:
        assert "b/b_unrelaxed_rank_001_tiny_seed_001.pdb" in archive.namelist()
    assert command(fasta, "--out", "out", "--random-seed", "2").code == 0
    assert not Path("out/b.zip").exists(), "of the folder before"


def test_recycling_ends_once_the_atoms_stand_still(command: Command, fasta: Path) -> None:
    outcome = command(fasta, "--recycle-early-stop-tolerance", "1000", usual="--model tiny --weights untrained")
    assert "pass 1: moved" in outcome.err
    assert "pass 2: moved" not in outcome.err


def test_a_job_is_folded_again_only_if_something_that_matters_has_changed(command: Command, fasta: Path) -> None:
    def folded(*arguments: str) -> set[str]:
        outcome = command(fasta, "--out", "out", *arguments)
        assert outcome.code == 0
        return {
            name for name in ("a", "b") if f"\n{name}: {{}} residues".format(10 if name == "a" else 14) in outcome.err
        }

    Path("b.a3m").write_text(f">b\n{LONG}\n>r\n{LONG[:-1]}-\n")
    assert folded() == {"a", "b"}
    assert folded("sort=none", "num_models=1", "--device", "cpu", "--precision", "fp32") == set()
    next(Path("out/a").glob("*.pdb")).unlink()
    assert folded() == {"a"}
    first = files_of(Path("out/b"))
    assert folded("--msa", "b.a3m") == {"b"}
    assert files_of(Path("out/b.earlier-1")) == first
    assert folded("--msa", "b.a3m", "--random-seed", "1") == {"a", "b"}
    before = {path.name for path in Path("out").iterdir()}
    assert folded("--overwrite") == {"a", "b"}
    assert {path.name for path in Path("out").iterdir()} == before
    assert files_of(Path("out/b")) == first
    fasta.write_text(f">a the first\n{SHORT[:-1]}\n>b\n{LONG}\n")
    assert "\na: 9 residues" in command(fasta, "--out", "out").err


def parameters(path: Path, **changes: np.ndarray | None) -> Path:
    """A file of the tiny model's parameters, in AlphaFold's layout."""
    arrays = seeded_parameters(published_shapes(fold_config("tiny").model), seed=1)
    np.savez(path, **{key: value for key, value in (arrays | changes).items() if value is not None})
    return path


def test_parameters_are_checked_before_the_first_job(command: Command, fasta: Path) -> None:
    folder = Path("params")
    folder.mkdir()
    good = parameters(folder / "params_tiny.npz")
    key = next(iter(published_shapes(fold_config("tiny").model)))
    truncated = Path("truncated.npz")
    truncated.write_bytes(good.read_bytes()[:-1000])
    cases = {
        str(parameters(Path("other.npz"), **{key: None})): "other.npz: not the parameters of tiny: 1 keys missing",
        str(truncated): "truncated.npz: truncated",
        "absent": "--weights absent: no such file",
        ".": "--weights params_tiny.npz: no such file",
        str(fasta): "two.fasta: not a parameter file",
    }  # fmt: skip
    for weights, message in cases.items():
        outcome = command(fasta, "--out", "out", usual=f"--model tiny --num-recycle 0 --weights {weights}")
        assert outcome.code == 2
        assert message in outcome.err.splitlines()[-1]
        assert not Path("out/a").exists()
    outcome = command(fasta, "--out", "out", usual="--model tiny --num-recycle 0 --weights params")
    assert (outcome.code, "UNTRAINED" in outcome.out + outcome.err) == (0, False)
    parameters(good, **{key: seeded_parameters(published_shapes(fold_config("tiny").model))[key]})
    assert "a: 10 residues" in command(fasta, "--out", "out", usual="--model tiny --num-recycle 0 --weights params").err


def test_a_job_too_long_for_memory_fails_alone(command: Command, fasta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = fold_config("tiny").model
    free = memory.predicted_bytes(config, 12, 1, 4)
    monkeypatch.setattr(memory, "available_bytes", lambda device: free)
    outcome = command(fasta, "--out", "out", "--no-autochunk", "sort=longest")
    assert outcome.code == 1
    assert "b: 14 residues" not in outcome.err  # no pass was begun
    found = results(Path("out"))
    assert (found["a"]["status"], found["b"]["status"]) == ("done", "failed")
    assert found["b"]["error"].startswith("14 residues need about ")
    assert "up to 12 residues would fit; to save memory take --precision bf16" in found["b"]["error"]
    assert found["b"]["error"] in Path("out/summary.csv").read_text().replace('"', "")
    assert "up to 12 residues" in outcome.out


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("fault", [IndexError("surprise"), MemoryError()])
def test_an_unforeseen_failure_leaves_the_other_jobs_alone(
    fault: Exception, command: Command, fasta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import foldcli.folding.predictor as predictor

    predict = predictor.predict

    def failing(*arguments: object) -> object:
        if arguments[1].name == "a":
            raise fault
        return predict(*arguments)

    monkeypatch.setattr(predictor, "predict", failing)
    assert command(fasta, "--out", "out").code == 1
    found = results(Path("out"))
    assert (found["a"]["status"], found["b"]["status"]) == ("failed", "done")
    reason = "IndexError in test_fold.py" if isinstance(fault, IndexError) else "out of memory; to save memory take"
    assert reason in found["a"]["error"]


def test_a_full_disk_costs_only_what_could_not_be_written(
    command: Command, fasta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, full = os.fsync, [Path("out/.b.part").is_dir]

    def fsync(descriptor: int) -> None:
        if full[0]():
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert command(fasta, "--out", "out").code == 1
    found = results(Path("out"))
    assert (found["a"]["status"], found["b"]["status"]) == ("done", "failed")
    assert "disk full; free some space" in found["b"]["error"]
    assert not Path("out/b").exists()

    full[0] = lambda: True  # not even the tables can be written
    before = files_of(Path("out/a"))
    outcome = command(fasta, "--out", "out")
    assert (outcome.code, "out/results.jsonl: disk full" in outcome.error) == (2, True)
    full[0] = lambda: False
    assert "(done before)" in command(fasta, "--out", "out").err
    assert files_of(Path("out/a")) == before
    assert results(Path("out"))["b"]["status"] == "done"


def test_ctrl_c_leaves_finished_jobs_and_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "in.fasta").write_text(f">a\n{SHORT}\n>b\n{LONG}\n>c\n{LONG * 2}\n")
    arguments = "fold in.fasta --out out --model tiny --weights untrained --num-recycle 20".split()
    # In a background job of a shell, as these tests may be, Ctrl-C is ignored.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    call = [sys.executable, "-c", f"{heard}; from foldcli.cli.main import run; run()", *arguments]
    with subprocess.Popen(call, cwd=tmp_path, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("b: tiny seed 0 pass 0"):
                process.send_signal(signal.SIGINT)
                break
        last = process.stderr.read().splitlines()[-1]
    assert process.returncode == 130
    assert last == "foldcli: interrupted: 1 of 3 jobs are done, in out; the same command goes on with the rest"
    statuses = {name: record["status"] for name, record in results(tmp_path / "out").items()}
    assert statuses == {"a": "done", "b": "interrupted", "c": "waiting"}
    assert not (tmp_path / "out" / "b").exists()

    before = files_of(tmp_path / "out" / "a")
    again = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert [name for name in "abc" if f"\n{name}: tiny seed 0 pass 0" in again.stderr] == ["b", "c"]
    assert files_of(tmp_path / "out" / "a") == before
    assert {record["status"] for record in results(tmp_path / "out").values()} == {"done"}
