"""Communication volume: what a rank was seen to send and to wait for, and what an Evoformer block should send."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from foldcli.config import StackConfig
from foldcli.parallel.channel_groups import group_count, splits_by_channels
from foldcli.parallel.mesh import RankGroup

# Names of torch's functional collectives.
ALL_GATHER, REDUCE_SCATTER, ALL_TO_ALL = "all_gather_into_tensor", "reduce_scatter_tensor", "all_to_all_single"
ALL_REDUCE = "all_reduce_"


class CommCounter(TorchDispatchMode):
    """Counts all collectives inside the block, those of a backward pass too.

    messages: collectives by kind; sent: bytes that this rank sends to others, by kind; largest: bytes of the largest
    result, by kind; exposed: exposed communication, seconds spent in waits.
    """

    def __init__(self, group: RankGroup) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.group = group
        self.messages: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.largest: Counter[str] = Counter()
        self.exposed = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call: Callable[[], Any] = lambda: func(*args, **(kwargs or {}))  # noqa: E731
        if func.namespace != "_c10d_functional":
            return call()
        name = func._opname
        if name == "wait_tensor":
            start = time.perf_counter()
            result = call()
            self.exposed += time.perf_counter() - start
            return result
        result = call()
        self.messages[name] += 1
        self.sent[name] += sent_bytes(name, args, self.group)
        self.largest[name] = max(self.largest[name], result.nbytes)
        return result


def sent_bytes(name: str, args: tuple[Any, ...], group: RankGroup) -> int:
    """Bytes that this rank sends to others by the functional collective of that name, called with these arguments."""
    nbytes: int = args[0].nbytes
    if name == ALL_TO_ALL:
        split = args[2]
        return nbytes * (sum(split) - split[group.rank]) // max(sum(split), 1)
    others = group.size - 1
    if name == ALL_REDUCE:  # a reduce-scatter, then an all-gather of the parts
        return 2 * nbytes * others // group.size
    return nbytes * others if name == ALL_GATHER else nbytes * others // group.size


def block_messages(config: StackConfig, length: int, ranks: int, width: int, backward: bool = False) -> Counter[str]:
    """Collectives of one Evoformer block: four all-to-alls, three gathered biases, a ring for the outer product.

    A triangle product takes three all-to-alls for each group of its channels, or a ring for each half.
    """
    share = length * length * config.c_triangle * width // ranks
    triangles = 2 * 3 * group_count(config.c_triangle, ranks, share)
    if not splits_by_channels(ranks, share):
        # backward, outgoing products take two rings: for the right operand and for its gradient
        triangles = (6 if backward else 4) * (ranks - 1)
    return Counter({ALL_TO_ALL: 4 + ranks - 1 + triangles, REDUCE_SCATTER if backward else ALL_GATHER: 3})


def block_sent(
    config: StackConfig, c_z: int, depth: int, length: int, ranks: int, width: int, backward: bool = False
) -> Counter[str]:
    """Bytes that each rank sends for one Evoformer block; the MSA is [depth, length], a number takes `width` bytes."""
    pairs, rows = length * length, depth * length
    layouts = (2 * rows * config.c_m + 2 * pairs * c_z) * (ranks - 1) // ranks**2
    share = pairs * config.c_triangle * width // ranks
    if splits_by_channels(ranks, share):
        multiple = ranks * group_count(config.c_triangle, ranks, share)
        channels = config.c_triangle + -config.c_triangle % multiple
        triangles = 2 * 3 * pairs * channels // ranks
    else:
        triangles = (3 if backward else 2) * pairs * config.c_triangle
    rings = triangles + rows * (config.c_outer + 1)
    biases = pairs * (config.msa_heads + 2 * config.pair_heads)
    return Counter(
        {
            ALL_TO_ALL: width * (layouts + rings * (ranks - 1) // ranks),
            REDUCE_SCATTER if backward else ALL_GATHER: width * biases * (ranks - 1) // ranks,
        }
    )
