"""The commands of `foldcli bench`, as a user types them."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from foldcli.cli.main import run

SMALL = "--msa-depth 4 --extra-depth 4 --model tiny --device cpu"


def bench(monkeypatch: pytest.MonkeyPatch, arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["foldcli", "bench", *arguments.split()])
    with pytest.raises(SystemExit) as end:
        run()
    return end.value.code or 0


def test_options_alone_are_those_of_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was kept can be measured again."""
    kept = tmp_path / "modules.json"
    assert bench(monkeypatch, f"--seq-len 8 --modules heads {SMALL} --json {kept}") == 0
    assert [figure["module"] for figure in json.loads(kept.read_text())["figures"]["8"]] == ["heads"]
    assert bench(monkeypatch, f"modules --compare {kept}") == 0
    assert "ms before" in capfd.readouterr().out


def test_what_a_log_was_told_outlives_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from foldcli.bench.modules.measure import ModuleBench

    figure = ModuleBench.figure

    def killed(self: ModuleBench, case: Any) -> Any:
        if self.cases.sizes.residues == 9:
            raise KeyboardInterrupt
        return figure(self, case)

    monkeypatch.setattr(ModuleBench, "figure", killed)
    assert bench(monkeypatch, f"--sweep 8,9 --modules heads {SMALL}") != 0
    assert re.match(r"8 residues, heads: \S+ ms, \S+ GiB\n", capfd.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("modules", "give one of --seq-len N, --sweep N,N,... and --compare FILE"),
        ("--seq-len 8 --sweep 8,16", "give one of --seq-len N, --sweep N,N,... and --compare FILE"),
        ("--sweep 8,x", "--sweep 8,x: expected lengths separated by commas, such as 256,512,1024"),
        ("--seq-len 8 --compare a.json --backward model.c_z=8", "leave out KEY=VALUE, --seq-len, --backward"),
        ("peers --seq-len 8", "give --peers NAME,... and --seq-len N, or --prepare"),
        ("peers --prepare --rounds 3", "leave out --rounds"),
        ("peers --seq-len 8 --peers jacks", "--peers jacks: no such peer; there is jax, compile, sdpa"),
        ("simulate --host-link tin", "--host-link tin: take nvlink, pcie"),
        ("counts --compare nowhere.json", "--compare nowhere.json: No such file or directory"),
    ],
)
def test_options_that_do_not_fit_together_are_refused_on_one_line(
    arguments: str, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench(monkeypatch, arguments) == 2
    out, err = capfd.readouterr()
    assert err.startswith("foldcli: ") and said in err and err.count("\n") == 1 and not out
