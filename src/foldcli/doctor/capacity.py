"""The longest protein that fits into a device's memory."""

from foldcli.compose import model_config
from foldcli.folding.memory import longest_that_fits

MODEL, DEPTH = "model_1_ptm", 512


def longest_fold(free: int, width: int) -> str:
    """The longest sequence that MODEL folds whole in `free` bytes, as text; width: bytes of a number in its trunk."""
    longest = longest_that_fits(model_config(MODEL), free, DEPTH, width)
    return f"{MODEL} folds up to {longest} residues whole, more in chunks"
