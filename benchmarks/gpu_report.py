"""Test, tune and time the kernels on a CUDA GPU, within 8 minutes; torch and triton are enough to run it.

    python benchmarks/gpu_report.py [--parts NAME,...] [--ship] [--results FOLDER] [--dry-run]

Each part runs in a process of its own with a time limit, and writes each row as it has it, so that a part that fails or
hangs loses only the rest of its own rows. The result is <results>/<device>-<date>.json and a table. --ship also adds
the tuned parameters to those that ship. --dry-run takes every part over tiny tensors on the CPU, in Triton's
interpreter and in this one process; its times mean nothing and nothing is kept. Exits with 2 without a CUDA GPU, with 1
if anything failed.
"""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class _Shaped:
    """Stands in for jaxtyping's types: Float[Tensor, "i j"] is Tensor."""

    def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
        return item[0]


def _make_checkout_importable() -> None:
    """Put src/ and kernels/ on the path, and a stand-in for jaxtyping if it is missing: only tests check shapes."""
    for folder in ("kernels", "src"):
        if str(ROOT / folder) not in sys.path:
            sys.path.insert(0, str(ROOT / folder))
    if importlib.util.find_spec("jaxtyping") is None:
        module = types.ModuleType("jaxtyping")
        for name in ("Bool", "Float", "Int"):
            setattr(module, name, _Shaped)
        sys.modules["jaxtyping"] = module


if __name__ == "__main__":
    _make_checkout_importable()
    from foldcli.bench.gpu import report

    sys.exit(report.main(__doc__))
