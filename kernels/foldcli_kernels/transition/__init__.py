"""The transition: layer norm, a wider layer, a rectifier and a layer back."""

from foldcli_kernels.transition.operator import add_transition, transition

__all__ = ["add_transition", "transition"]
