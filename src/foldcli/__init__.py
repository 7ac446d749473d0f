"""foldcli folds proteins with AlphaFold 2 on as many local GPUs as there are.

From Python: `fold` writes what the command writes and returns a `Record` for each job; `load_model` gives a model whose
`predict` returns a `Prediction` in memory. What goes wrong is a `FoldcliError`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foldcli.errors import FoldcliError
    from foldcli.folding.api import fold, load_model
    from foldcli.folding.record import Record
    from foldcli.protein.structure import Prediction

__version__ = "0.1.0"
__all__ = ["FoldcliError", "Prediction", "Record", "__version__", "fold", "load_model"]

_ROOMS = {
    "FoldcliError": "foldcli.errors",
    "Prediction": "foldcli.protein.structure",
    "Record": "foldcli.folding.record",
    "fold": "foldcli.folding.api",
    "load_model": "foldcli.folding.api",
}


def __getattr__(name: str) -> Any:
    """The names above, imported when they are first used: `foldcli --help` is not to wait for torch."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'foldcli' has no attribute '{name}'")
    return getattr(importlib.import_module(_ROOMS[name]), name)
