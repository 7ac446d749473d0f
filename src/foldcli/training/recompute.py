"""Activation checkpointing: blocks are recomputed in the backward pass (Suppl. Sec. 1.11.8)."""

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from foldcli.model.evoformer import EvoformerBlock
from foldcli.model.template import TemplatePairBlock


def recompute_blocks(model: nn.Module) -> None:
    """Store only the inputs of every Evoformer, extra-MSA and template block; a sharded model is sharded before."""
    for module in model.modules():
        if isinstance(module, EvoformerBlock | TemplatePairBlock):
            setattr(module, "forward", partial(checkpoint, module.forward, use_reentrant=False))  # noqa: B010
