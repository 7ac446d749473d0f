"""The trained parameters that come with the package, and their measured accuracy."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

NAME = "foldcli-mini"
# Written by benchmarks/default_model.py: mean lDDT-CA (0 to 1) on held-out proteins, by kind of input.
FIGURES = Path(str(files("foldcli.weights").joinpath("foldcli_mini.json")))
MEASURED = "mean lDDT-CA (0 to 1) on proteins of up to 256 residues that it never saw:"
BETTER = "AlphaFold's parameters are far more accurate: foldcli weights download"


def default_parameters() -> Path:
    """The parameter file in the package."""
    return FIGURES.with_suffix(".safetensors")


@cache
def _figures() -> dict[str, float]:
    return json.loads(FIGURES.read_text(encoding="utf-8"))


def measured(depth: int, templates: int) -> str:
    """The accuracy for this kind of input, in words; depth: rows of the alignment, 1 for none; templates: how many."""
    kind = ("profile" if depth > 1 else "sequence") + (" + known folds" if templates else "")
    words = "an alignment" if depth > 1 else "a sequence"
    words += " and templates" if templates else "" if depth > 1 else " alone"
    return f"{_figures()[kind]:.2f} from {words}"
