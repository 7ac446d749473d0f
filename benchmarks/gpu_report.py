"""Test, tune and time foldcli on a CUDA GPU: kernels, folds, training.

    python benchmarks/gpu_report.py [--minutes N] [--parts NAME,...] [--results FILE] [--compare OLD.json] [--ship]
                                    [--dry-run]

Parts run in order of worth, each in a process of its own with a time limit, so that one that crashes or hangs loses
nothing else. The results, by default benchmarks/results/<device>-<date>.json, are written after each part: called
again, on the same sources, the report goes on with the parts that are left, then with those that were cut off. A part
starts where its whole limit is left of --minutes. Kernels need torch and triton alone; folds, passes and training need
foldcli installed, and are left out where it is not. Results are also printed as a table.

--compare prints what moved since another file by more than noise, and what one of the two lacks; without a GPU, of the
file --results. --ship also adds the tuned parameters to those that ship. --dry-run takes every part at tiny sizes on
the CPU, kernels in Triton's interpreter; its times mean nothing, and nothing is kept unless --results is given. Exits
with 2 without a CUDA GPU, with 1 if a part failed or is left.
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
