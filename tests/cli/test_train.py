"""Wrong settings of `foldcli train` end with one line that names the key, exit code 2, before anything is written."""

import sys
from pathlib import Path

import pytest

from foldcli.cli.main import run

SHARD = str(Path(__file__).parents[1] / "golden" / "chains.npz")
WRONG = {
    "--config huge: no such recipe; there is big, finetune, mini, tiny": "--config huge",
    "configuration: no key 'batch_sizes'; there is batch_size": "batch_sizes=3",
    "configuration: no key 'optimizer.lr'; there is beta1": "optimizer.lr=1",
    "configuration: 'batch_size' is 7, which cannot be split evenly: expected a multiple of 2": "batch_size=7",
    "configuration: 'gpus' is 3, which 'dap', 2, does not divide": "gpus=3 dap=2",
    "configuration: 'steps' is 'many', expected int": "steps=many",
    "'train.shards': none.npz: no such file": "train.shards=none.npz",
    "'train.kind' is 'pdb', expected chains or openfold": "train.kind=pdb",
    "'train.structures'": "train.kind=openfold train.structures=nowhere",
    "'validation.shards': none.npz: no such file": "validation.shards=none.npz",
    "none.safetensors: no such file": "start_from=none.safetensors",
    "configuration: 'loss.pae' is 0.1, and tiny has no such head; set it to 0": "model.heads.pae=false",
    "--resume never: expected auto or none": "--resume never",
    "configuration: 'optimizer.rate' is -1.0, expected a number of 0 or more": "optimizer.rate=-1",
    "configuration: 'optimizer.ema' is 1.0, expected less than 1": "optimizer.ema=1",
    "configuration: 'sample.crop' is 0, expected 4 or more": "sample.crop=0",
    f"{'x' * 60}...: File name too long; give another path": f"--out {'x' * 300}",
    "configuration: 'every' is 0, expected 1 or more": "checkpoint.every=0",
    "'train.shards': examples/few.npz: no such file; it is in a clone": "train.shards=examples/few.npz",
    f"--out {SHARD}: cannot be written (File exists); use another folder": f"--out {SHARD}",
}


@pytest.mark.parametrize("message", WRONG)
def test_bad_settings_are_named(
    message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    usual = [f"train.shards={SHARD}", f"validation.shards={SHARD}", "device=cpu"]
    monkeypatch.setattr(sys, "argv", ["foldcli", "train", *usual, *WRONG[message].split()])
    with pytest.raises(SystemExit) as end:
        run()
    error = capfd.readouterr().err
    assert end.value.code == 2 and error.startswith("foldcli: ") and error.count("\n") == 1, error
    assert message in error
    assert not list(tmp_path.iterdir())
