"""`foldcli bench autochunk` prints and plots the curve of a small model."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from foldcli.autochunk.cost import DeviceRates
from foldcli.cli.main import app


@pytest.mark.usefixtures("unchecked_shapes")
def test_the_curve_is_printed_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Rates calibrated on a busy machine lead to plans of very small chunks, whose memory is mostly overhead.
    rates = DeviceRates(3e10, 1e10, 1e10, 1e-9, 5e-6)
    monkeypatch.setattr("foldcli.autochunk.chunked.device_rates", lambda *_: rates)
    command = "bench autochunk --seq-len 40 --msa-depth 4 --extra-depth 4 --model tiny --device cpu --plot"
    outcome = CliRunner().invoke(app, [*command.split(), str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    rows = {cells[1].strip(): cells for line in outcome.output.splitlines() if len(cells := line.split("│")) > 3}
    assert "whole" in rows and any(name.startswith("plan ") for name in rows)
    assert all(0.9 < float(cells[6]) < 1.1 and float(cells[7]) < 1e-4 for cells in rows.values()), rows
    assert (tmp_path / "autochunk-40.png").read_bytes().startswith(b"\x89PNG")
