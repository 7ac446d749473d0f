"""A training sample: features and labels; stacked along leading axes it is a micro-batch."""

from dataclasses import dataclass

from foldcli.model.features import Features
from foldcli.shapes import Atoms37, Atoms37Mask, Float, Int, Tensor


@dataclass(frozen=True)
class Labels:
    """The ground truth of a sample.

    positions in angstrom and mask in the slots of `residues.ATOM37`, missing atoms at the origin; true_msa [s i]:
    letters 0..22 before masking, and bert_mask [s i]: 1 where masked, both of the last pass; resolution in angstrom, 0
    where there is none; clamped: 1 for a sample whose backbone FAPE is clamped.
    """

    positions: Atoms37
    mask: Atoms37Mask
    true_msa: Int[Tensor, "*b s i"]
    bert_mask: Float[Tensor, "*b s i"]
    resolution: Float[Tensor, "*b"]
    clamped: Float[Tensor, "*b"]


@dataclass(frozen=True)
class Sample:
    """A crop of a chain: features of each recycling pass, the last of which has gradients, and labels.

    Shorter crops are padded with masked residues, so that samples of one micro-batch have one shape.
    """

    names: tuple[str, ...]
    passes: tuple[Features, ...]
    labels: Labels
