"""How long a protein a device's memory holds."""

from foldcli.compose import model_config
from foldcli.folding.memory import longest_that_fits

MODEL, DEPTH = "model_1_ptm", 512


def longest_fold(free: int, width: int) -> str:
    """The longest sequence that AlphaFold's first pTM model folds whole in `free` bytes, `width` bytes a number."""
    longest = longest_that_fits(model_config(MODEL), free, DEPTH, width)
    return f"{MODEL} folds up to {longest} residues whole, more in slices"
