"""Triangle products split by channels: an all-to-all gives each rank whole matrices of some channels to multiply.

Of N ranks each sends 3/N of what a ring of blocks (`ring`) sends as 1: a share of two operands there, and of the
product back. Channels go in groups: while one is multiplied, the next is projected and sent, and what is on its way
takes no more memory than two groups (Duality Async Operations).
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from foldcli import ops
from foldcli.parallel.collectives import Pending, all_to_all, messages, start
from foldcli.parallel.mesh import RankGroup
from foldcli.shapes import Float, Tensor

Operands = tuple[Float[Tensor, "*b c i k"], Float[Tensor, "*b c i k"]]
FEWEST_GROUPS = 2  # so that one travels while the other is worked on
# Ranks to which a ring sends less, or as much forward: 3/N against 1 of an operand.
RING_RANKS = 3


def splits_by_channels(ranks: int, nbytes: int) -> bool:
    """Whether a product goes by channels and not around a ring; nbytes: of this rank's share of an operand.

    Both do the same arithmetic, which hides a message if it takes longer. Of each number that is sent, n/R operations
    hide the ring's, and n/3 those of the channels, for n residues. So these take over where they send less, and also
    where an operand is so large that the ring, which holds both operands whole, takes too much memory.
    """
    return ranks > RING_RANKS or messages(nbytes) > 1


def group_count(channels: int, ranks: int, nbytes: int) -> int:
    """How many groups the channels go in, each with as many for every rank; nbytes: as above."""
    width = -(-channels // (ranks * max(FEWEST_GROUPS, messages(nbytes))))  # channels of a rank in a group
    return -(-channels // (ranks * width))


def grouped(operands: nn.Linear, count: int, ranks: int) -> list[ops.Dense]:
    """The layer of both operands as one for each group of channels; channels of zeros make the groups equal."""
    stacked = [x.unflatten(0, (4, -1)) for x in operands.parameters()]
    channels = stacked[0].shape[1]
    missing = -channels % (count * ranks)
    padded = (F.pad(x, (0, 0) * (x.dim() - 2) + (0, missing)) if missing else x for x in stacked)
    weights, biases = (x.chunk(count, dim=1) for x in padded)
    return [(weight.flatten(0, 1), bias.flatten()) for weight, bias in zip(weights, biases, strict=True)]


def product_by_channels(
    project: Callable[[ops.Dense], Operands],
    groups: Sequence[ops.Dense],
    contract: Callable[..., Tensor],
    group: RankGroup,
) -> list[Float[Tensor, "*b c i j"]]:
    """The triangle product of this rank's rows, a tensor for each group of channels.

    project: both operands of a group of channels, of this rank's rows; contract: the product of whole operands.
    """
    found: list[Tensor] = []
    coming, going = _sent(project(groups[0]), group), None
    for following in (*groups[1:], None):
        # Duality Async: the next group is projected and starts to travel, which overlaps the transfer of this one
        after = _sent(project(following), group) if following else []
        product = contract(*(pending.wait() for pending in coming))  # Duality Async: this group is awaited
        found += [going.wait()] if going else []  # Duality Async: the product of the one before is awaited
        coming, going = after, _rows(product, group)  # Duality Async: the product starts to travel back
    assert going is not None
    return [*found, going.wait()]


def _sent(operands: Operands, group: RankGroup) -> list[Pending]:
    """Operands on their way from some rows of all channels to all rows of some channels."""
    return [
        start(
            x.unflatten(-3, (group.size, -1)).movedim(-4, 0),
            all_to_all(group),
            lambda y: y.movedim(0, -3).flatten(-3, -2),
        )
        for x in operands
    ]


def _rows(product: Float[Tensor, "*b c i j"], group: RankGroup) -> Pending:
    """A product on its way from all rows of some channels to some rows of all channels."""
    blocks = product.unflatten(-2, (group.size, -1)).movedim(-3, 0)
    return start(blocks, all_to_all(group), lambda y: y.movedim(0, -4).flatten(-4, -3))


def joined(parts: Sequence[Tensor], channels: int) -> Float[Tensor, "*b c i j"]:
    """The product of all channels, without those that made groups equal."""
    made = sum(x.shape[-3] for x in parts)
    last = parts[-1] if made == channels else parts[-1].narrow(-3, 0, parts[-1].shape[-3] - made + channels)
    return torch.cat([*parts[:-1], last], dim=-3)
