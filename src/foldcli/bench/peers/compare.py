"""Ours and others', in turns, on the same inputs; what does not give the same result is not timed."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from foldcli import ops
from foldcli.autochunk.graph import tensors
from foldcli.bench.cases import Cases, Sizes
from foldcli.bench.clock import Times, in_turns, seconds
from foldcli.bench.limits import Limits, limits_of
from foldcli.bench.modules import Machine, Request, as_in_a_fold, device_and_dtype, machine_of
from foldcli.bench.peers import attention
from foldcli.errors import InputError

# Of the largest number of the result: what rounding explains.
AGREEMENT = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
ATTENTION = {
    "sdpa": (attention.fused, "torch"),
    "trifast": (attention.trifast, "trifast"),
    "cuequivariance": (attention.cuequivariance, "cuequivariance_torch"),
}
PEERS = ("jax", "compile", *ATTENTION)
ONLY_CUDA = ("trifast", "cuequivariance")


@dataclass(frozen=True)
class Comparison:
    """One piece of work by us and by a peer: the largest difference, then times of both, turn by turn.

    difference: as a share of the largest number of a result, the worst of them; times are None where it is too large.
    """

    work: str
    ours: str
    peer: str
    difference: float
    our_times: Times | None = None
    peer_times: Times | None = None

    @property
    def ratios(self) -> list[float]:
        """Our time in each turn, as a share of the peer's."""
        if self.our_times is None or self.peer_times is None:
            return []
        return [ours / peer for ours, peer in zip(self.our_times.each, self.peer_times.each, strict=True)]


@dataclass(frozen=True)
class Compared:
    """A request's comparisons."""

    machine: Machine
    request: Request
    limits: Limits
    comparisons: list[Comparison]


def compare(request: Request, peers: Sequence[str], rounds: int, told: Callable[[str], None]) -> Compared:
    """Measure against every peer; InputError for one that is unknown or cannot run here."""
    device, dtype = device_and_dtype(request.device, request.dtype)
    require(peers, device)
    as_in_a_fold(device)
    found: list[Comparison] = []
    for peer in peers:
        told(peer)
        found += _against(peer, request, device, dtype, rounds)
    return Compared(machine_of(device), request, limits_of(device, dtype), found)


def require(peers: Sequence[str], device: torch.device) -> None:
    for peer in peers:
        if peer not in PEERS:
            raise InputError(f"--peers {peer}: no such peer; there is {', '.join(PEERS)}")
        if peer in ONLY_CUDA and device.type != "cuda":
            raise InputError(f"--peers {peer}: runs on CUDA alone; leave it out")
        if peer in ATTENTION and importlib.util.find_spec(ATTENTION[peer][1]) is None:
            raise InputError(f"--peers {peer}: {ATTENTION[peer][1]} is not installed; pip install {ATTENTION[peer][1]}")


def _against(
    peer: str, request: Request, device: torch.device, dtype: torch.dtype, rounds: int
) -> Iterator[Comparison]:
    if peer == "jax":
        from foldcli.bench.peers.whole_model import against_alphafold

        yield from against_alphafold(request, rounds)
        return
    sizes = Sizes(request.lengths[0], request.depth, request.extra)
    cases = Cases(request.config(), sizes, device, dtype)
    with torch.inference_mode(), torch.no_grad():
        if peer == "compile":
            yield _compiled(cases, rounds)
        else:
            for name in ("evoformer.row", "evoformer.starting"):
                yield _attention(cases, name, peer, rounds)


def _compiled(cases: Cases, rounds: int) -> Comparison:
    """The Evoformer's block against torch's compiler on the plain bodies of its operations."""
    case = cases.case("evoformer.block")
    with ops.backend("reference"):
        compiled = torch.compile(case.module, dynamic=False)
        compiled(*case.inputs)  # compiles it

    def peer() -> Any:
        with ops.backend("reference"):
            return compiled(*case.inputs)

    return in_agreement(case.name, "compile", partial(case.module, *case.inputs), peer, cases, rounds)


def _attention(cases: Cases, name: str, peer: str, rounds: int) -> Comparison:
    """Attention between its projections; the peer's queries, keys and values lie apart, as it likes them best."""
    case = cases.case(name)
    module: Any = case.module.attention
    n = cases.sizes.residues
    rows = case.inputs[0][..., :1].squeeze(-1)
    packed = torch.randn(*rows.shape, 4 * module.output.in_features, device=cases.device, dtype=cases.dtype)
    bias = torch.randn(module.heads, n, n, device=cases.device, dtype=cases.dtype)
    mask = torch.ones_like(rows)
    q, k, v = (_heads(part, module.heads) for part in packed.chunk(4, dim=-1)[:3])
    gate = packed.chunk(4, dim=-1)[3].contiguous()

    def theirs() -> Tensor:
        attended = ATTENTION[peer][0](q, k, v, bias, mask).transpose(-2, -3).flatten(-2)
        return attended * (gate + module.gate_bias).sigmoid()

    ours = partial(ops.gated_attention, packed, module.gate_bias, module.heads, mask, bias)
    return in_agreement(f"{name}, attention alone", peer, ours, theirs, cases, rounds)


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3).contiguous()


def in_agreement(
    work: str, peer: str, ours: Callable[[], Any], theirs: Callable[[], Any], cases: Cases, rounds: int
) -> Comparison:
    """Compare results, and only if they agree the times of as many turns."""
    difference = largest_difference(ours(), theirs())
    name = f"foldcli {str(cases.dtype).removeprefix('torch.')}"
    if difference > AGREEMENT[cases.dtype]:
        return Comparison(work, name, peer, difference)
    times = in_turns([partial(seconds, ours, cases.device), partial(seconds, theirs, cases.device)], rounds)
    return Comparison(work, name, peer, difference, *times)


def largest_difference(ours: Any, theirs: Any) -> float:
    """Between two results of the same form, as a share of the largest number of each tensor."""
    pairs = zip(tensors(ours), tensors(theirs), strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def table(compared: Compared) -> Table:
    """Comparisons as they are printed."""
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
