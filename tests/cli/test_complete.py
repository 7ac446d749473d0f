"""Shell completion of commands, options and their values, without heavy imports."""

import os
import subprocess
import sys

import pytest

TYPED = {
    "foldcli do": ["doctor"],
    "foldcli fold in.fasta --prec": ["--precision"],
    "foldcli fold in.fasta --model model_1": ["model_1", "model_1_multimer_v3", "model_1_ptm"],
    "foldcli fold in.fasta --model f": ["foldcli-mini"],
    "foldcli fold in.fasta --rank-by ": ["auto", "plddt", "ptm", "iptm", "multimer"],
    "foldcli train --config ": ["big", "finetune", "mini", "tiny"],
    "foldcli weights download --model model_5": ["model_5", "model_5_ptm", "model_5_multimer_v3"],
}
COMPLETE = """
import sys
sys.argv = ["foldcli"]
from foldcli.cli.main import run
try: run()
finally: assert not {"torch", "hydra", "matplotlib"} & sys.modules.keys()
"""


@pytest.mark.parametrize("typed", TYPED)
def test_bash(typed: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_FOLDCLI_COMPLETE": "complete_bash"}
    call = [sys.executable, "-c", COMPLETE]
    done = subprocess.run(call, env=os.environ | words, capture_output=True, text=True, check=False)
    assert done.stdout.split() == TYPED[typed], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_installed(shell: str, tmp_path: "os.PathLike[str]") -> None:
    call = [sys.executable, "-c", COMPLETE.replace('["foldcli"]', f'["foldcli", "--install-completion", "{shell}"]')]
    environment = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert f"{shell} completion installed in" in done.stdout, done.stderr
