"""The transition: layer norm, a wider layer, a rectifier and a layer back."""

from foldcli_kernels.transition.operator import transition

__all__ = ["transition"]
