"""AlphaFold's training losses, one file for each part of Suppl. Sec. 1.9."""

from foldcli.training.losses.total import Terms, total

__all__ = ["Terms", "total"]
