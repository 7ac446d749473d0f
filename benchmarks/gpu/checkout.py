"""Make a checkout importable in a plain PyTorch + Triton environment, where foldcli is not installed."""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class _Shaped:
    """Stands in for jaxtyping's types: Float[Tensor, "i j"] is Tensor."""

    def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
        return item[0]


def prepare() -> None:
    """Put src/ and kernels/ on the path, and a stand-in for jaxtyping where it lacks: only tests check shapes."""
    for folder in ("kernels", "src"):
        if str(ROOT / folder) not in sys.path:
            sys.path.insert(0, str(ROOT / folder))
    if importlib.util.find_spec("jaxtyping") is None:
        module = types.ModuleType("jaxtyping")
        for name in ("Bool", "Float", "Int"):
            setattr(module, name, _Shaped)
        sys.modules["jaxtyping"] = module
