"""Wrong input ends with one line that says what is wrong and what to do, exit code 2, before any work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import LONG, SHORT, Command

INPUTS = {
    "none.fasta: no such file": None,
    "in.fasta: is empty": "",
    "in.fasta: record 2 (b) has no sequence": f">a\n{SHORT}\n>b\n",
    "in.fasta: record 1 (a) has '1' at position 4; expected one of the 20 amino acids, B,": ">a\nMKV1\n",
    "in.fasta: record 1 (a) has '*' at position 3; a stop": ">a\nMK*V\n",
    "in.fasta: record 1 (a) has '-' at position 3; a gap": ">a\nMK-V\n",
    "in.fasta: record 1 (a): chain B has no sequence: ':' joins two chains; take it out": ">a\nMK::MK\n",
    "in.fasta: record 2 (b) is a complex of 2 chains, and tiny folds single chains; take": f">a\n{SHORT}\n>b\nMK:MK\n",
    "in.fasta: record 2 (b) has only X; give": f">a\n{SHORT}\n>b\nxxX\n",
    "in.fasta: record 1 is named 'summary.csv'": f">summary.csv\n{SHORT}\n",
}


@pytest.mark.parametrize("message", INPUTS)
def test_an_input_that_cannot_be_folded_is_named(message: str, command: Command, tmp_path: Path) -> None:
    text, name = INPUTS[message], message.partition(":")[0]
    if text is not None:
        (tmp_path / name).write_text(text)
    outcome = command(name if text is None else "in.fasta", "--out", "out")
    assert outcome.code == 2
    assert outcome.error.startswith(f"foldcli: {message}"), outcome.error
    assert not Path("out").exists()


ALIGNMENTS = {
    "a.a3m: row 1 (q) has 'K' at position 2": f">q\nNK{SHORT[2:]}\n",
    "a.a3m: row 2 (r) has 3 columns, the query has 10": f">q\n{SHORT}\n>r\nNLY\n",
    "c.a3m: of no record": f">q\n{SHORT}\n",
}


@pytest.mark.parametrize("message", ALIGNMENTS)
def test_an_alignment_that_does_not_fit_is_named(message: str, command: Command, fasta: Path) -> None:
    Path("msa").mkdir()
    Path("msa", message.partition(":")[0]).write_text(ALIGNMENTS[message])
    outcome = command(fasta, "--msa", "msa", "--out", "out")
    assert (outcome.code, Path("out").exists()) == (2, False)
    assert f"foldcli: msa{'/' if 'row' in message else ': '}{message}" in outcome.error


USAGE = {
    "notakey": "'notakey' is no setting; expected KEY=VALUE",
    "nokey=1": "no key 'nokey'; there is autochunk, cyclic, dap, db,",
    "model.nokey=1": "no key 'model.nokey'; there is c_s",
    "num_recycle=two": "'num_recycle' is 'two', expected int",
    "num_recycle=[1": "configuration: ",
    "model=tiny": "choose the preset with --model tiny",
    "model.msa.max_clusters=0": "'model.msa.max_clusters' is 0, expected 1 or more",
    "--num-seeds=0": "'num_seeds' is 0, expected 1 or more",
    "--rank-by=best": "'rank_by' is 'best', expected auto or plddt or ptm or iptm or multimer",
    "--msa-mode=web": "'msa_mode' is 'web', expected auto or server or local or none",
    "--msa-mode=local": "--msa-mode local: there is no database; name one with --db",
    "--db=absent.fasta": "--db absent.fasta: no such file",
    "--host-url=http://localhost": "--host-url http://localhost: no server is asked without --msa-mode server",
    "--random-seed=99999999999999999999": "'random_seed' is 99999999999999999999, expected at most 4294967295",
    "--num-models=9": "'num_models' is 9; there are 5 pTM models",
    "--recycle-early-stop-tolerance=nan": "'recycle_early_stop_tolerance' is nan, expected a number of 0 or more",
    "--recycle-early-stop-tolerance=-1": "'recycle_early_stop_tolerance' is -1.0, expected a number of 0 or more",
    "--dap=3": "--dap 3: there is one process; add --gpus 3, or a multiple of it",
    "--dap=all": "'dap' is 'all', expected int",
    "--model=model_9": "--model model_9: no such preset; there is ",
    "--out=two.fasta": "--out two.fasta: cannot be written (File exists)",
    "--out=two.fasta/out": "--out two.fasta/out: cannot be written (Not a directory)",
}


@pytest.mark.parametrize("argument", USAGE)
def test_bad_usage_is_named(argument: str, command: Command, fasta: Path) -> None:
    outcome = command(fasta, argument)
    assert outcome.code == 2
    assert USAGE[argument] in outcome.error
    assert not Path("results").exists()


def test_typers_own_errors_end_with_2(command: Command, fasta: Path) -> None:
    assert command(fasta, "--no-such-option").code == 2
    assert command().code == 2


def test_without_parameters_the_error_says_how_to_get_them(command: Command, fasta: Path) -> None:
    outcome = command(fasta, usual="--model model_1_ptm")
    assert outcome.code == 2
    assert "no parameters for model_1_ptm" in outcome.error
    assert "`foldcli weights download`" in outcome.error
    assert "--weights FILE" in command(fasta, usual="--model tiny").error
    assert "predicts no pTM" in command(fasta, usual="--model model_1 --weights untrained --rank-by ptm").error


def test_a_results_file_of_another_program_is_left_alone(command: Command, fasta: Path) -> None:
    Path("out").mkdir()
    Path("out", "results.jsonl").write_text("not ours\n")
    outcome = command(fasta, "--out", "out")
    assert (outcome.code, Path("out", "results.jsonl").read_text()) == (2, "not ours\n")
    assert "out/results.jsonl: not a results file of foldcli" in outcome.error


def test_names_that_are_alike_or_unsafe_are_all_folded(command: Command, tmp_path: Path) -> None:
    Path("in.fasta").write_text(f">a/../b\n{SHORT}\n>a_.._b\n{SHORT}\n>a_.._B\n{LONG.lower()}\n>x\nXXMXX\n")
    outcome = command("in.fasta", "--out", "out")
    assert outcome.code == 0
    unknown = "X at positions 1, 2, 4, 5 is unknown: it has no coordinates"
    assert unknown in outcome.out and unknown in Path("out/x/report.html").read_text()
    folders = {path.name for path in Path("out").iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert folders == {"a_.._b", "a_.._b_2", "a_.._B_2", "x"} or folders == {"a_.._b", "a_.._b_2", "a_.._B_3", "x"}
    assert all(Path("out", name, "job.json").is_file() for name in folders)
    assert {path.name for path in tmp_path.iterdir()} == {"in.fasta", "out"}


def test_good_records_are_folded_without_the_bad_ones(command: Command) -> None:
    Path("in.fasta").write_text(f">bad\nAC1\n>good\n{SHORT}\n")
    assert "--skip-bad folds the others" in command("in.fasta", "--out", "out").error
    assert command("in.fasta", "--out", "out", "--skip-bad").code == 0
    assert Path("out/good/job.json").is_file() and not Path("out/bad").exists()


def test_names_of_files_need_be_no_utf8(command: Command) -> None:
    source, msa, out = (Path(os.fsdecode(name)) for name in (b"in\xff.fasta", b"msa\xff.a3m", b"out\xff"))
    source.write_text(f">a\n{SHORT}\n")
    msa.write_text(f">a\n{SHORT}\n")
    outcome = command(source, "--msa", msa, "--out", out)
    assert (outcome.code, (out / "a" / "report.html").is_file()) == (0, True), outcome
    assert "none?.fasta" in command(os.fsdecode(b"none\xff.fasta")).err.replace("\\udcff", "?")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['foldcli', 'fold', '--help']\n"
        "from foldcli.cli.main import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'modelcif', 'hydra', 'Bio'} & sys.modules.keys()\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_a_number_that_pdb_files_cannot_hold_is_refused(command: Command, fasta: Path) -> None:
    outcome = command(fasta, "--out", "out", "--first-residue", "9990")
    assert outcome.code == 2 and "(b): --first-residue 9990: the last residue has number 10003" in outcome.err
    assert not Path("out").exists()
