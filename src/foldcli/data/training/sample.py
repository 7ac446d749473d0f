"""What one training step takes of one chain; stacked along leading axes, a micro-batch."""

from dataclasses import dataclass

from foldcli.model.features import Features
from foldcli.shapes import Atoms37, Atoms37Mask, Float, Int, Tensor


@dataclass(frozen=True)
class Labels:
    """The truth that a prediction is scored against.

    positions in angstrom and mask in the slots of `residues.ATOM37`, missing atoms at the origin; letters [s i], 0..22,
    the alignment's rows as they were before letters were hidden, and hidden [s i], 1 where one was (of the last pass);
    resolution in angstrom, 0 where there is none; clamped, 1 for a sample whose backbone FAPE is clamped.
    """

    positions: Atoms37
    mask: Atoms37Mask
    true_msa: Int[Tensor, "*b s i"]
    bert_mask: Float[Tensor, "*b s i"]
    resolution: Float[Tensor, "*b"]
    clamped: Float[Tensor, "*b"]


@dataclass(frozen=True)
class Sample:
    """A chain's crop: the features of each recycling pass, the last of which is learnt from, and the truth.

    Shorter crops are filled up with masked residues, so that samples of one micro-batch have one shape.
    """

    names: tuple[str, ...]
    passes: tuple[Features, ...]
    labels: Labels
