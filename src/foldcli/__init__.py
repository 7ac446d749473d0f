"""foldcli folds proteins with AlphaFold 2 on as many local GPUs as there are."""

__version__ = "0.1.0"
