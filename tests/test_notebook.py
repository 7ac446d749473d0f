"""The notebook in examples/ runs, and was run when it was put there."""

import json
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "fold.ipynb"


def test_the_notebook(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    monkeypatch.chdir(NOTEBOOK.parent)
    matplotlib.use("agg")
    before = sorted(NOTEBOOK.parent.rglob("*"))
    namespace: dict[str, object] = {}
    for cell in cells:
        exec("".join(cell["source"]), namespace)
        shown = [name for output in cell["outputs"] for name in output.get("data", ())]
        kept = "".join(line for output in cell["outputs"] for line in output.get("text", ()))
        assert ("image/png" in shown) == bool(plt.get_fignums())
        plt.close("all")
        assert [output["output_type"] for output in cell["outputs"] if output["output_type"] == "error"] == []
        assert capsys.readouterr().out.count("\n") == kept.count("\n")
    assert sorted(NOTEBOOK.parent.rglob("*")) == before
