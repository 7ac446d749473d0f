"""Times of foldcli and a peer on the same inputs, measured in turns once their results agree."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from rich.table import Table

from foldcli.autochunk.graph import tensors
from foldcli.bench.cases import Cases
from foldcli.bench.host import HostInfo
from foldcli.bench.limits import Limits
from foldcli.bench.request import Request
from foldcli.bench.timing import Times, in_turns, seconds

# Largest difference by rounding alone, as a share of the largest entry of a result.
AGREEMENT = {torch.float32: 1e-4, torch.bfloat16: 3e-2}


@dataclass(frozen=True)
class Comparison:
    """The same work by foldcli and by a peer.

    difference: largest difference of results, as a fraction of the largest entry of each; times: of both in each turn,
    None if the difference is too large.
    """

    work: str
    ours: str
    peer: str
    difference: float
    our_times: Times | None = None
    peer_times: Times | None = None

    @property
    def ratios(self) -> list[float]:
        """Our time relative to the peer's, in each turn."""
        if self.our_times is None or self.peer_times is None:
            return []
        return [ours / peer for ours, peer in zip(self.our_times.each, self.peer_times.each, strict=True)]


@dataclass(frozen=True)
class Compared:
    """All comparisons of a request."""

    machine: HostInfo
    request: Request
    limits: Limits
    comparisons: list[Comparison]


def compare_calls(
    work: str, peer: str, ours: Callable[[], Any], theirs: Callable[[], Any], cases: Cases, rounds: int
) -> Comparison:
    """Compare results and, only if they agree, times of `rounds` turns."""
    difference = largest_difference(ours(), theirs())
    name = f"foldcli {str(cases.dtype).removeprefix('torch.')}"
    if difference > AGREEMENT[cases.dtype]:
        return Comparison(work, name, peer, difference)
    times = in_turns([partial(seconds, ours, cases.device), partial(seconds, theirs, cases.device)], rounds)
    return Comparison(work, name, peer, difference, *times)


def largest_difference(ours: Any, theirs: Any) -> float:
    """Largest difference of two results of the same structure, as a fraction of each tensor's largest entry."""
    pairs = zip(tensors(ours), tensors(theirs), strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def table(compared: Compared) -> Table:
    """Comparisons as a table."""
    request = compared.request
    title = f"{request.model}: {request.lengths[0]} residues, {request.depth} + {request.extra} rows"
    grid = Table("work", "ours", "peer", "ours, ms", "peer, ms", "ours / peer", "differ by", title=title)
    for one in compared.comparisons:
        if one.our_times is None or one.peer_times is None:
            cells = "", "", "not timed: DIFFERENT"
        else:
            ratios = one.ratios
            cells = (
                f"{1e3 * one.our_times.median:,.1f}", f"{1e3 * one.peer_times.median:,.1f}",
                f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            )  # fmt: skip
        grid.add_row(one.work, one.ours, one.peer, *cells, f"{one.difference:.1e}")
    return grid
