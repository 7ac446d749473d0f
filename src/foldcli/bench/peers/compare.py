"""Time foldcli's kernels and whole passes beside other implementations of the same work."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from foldcli import ops
from foldcli.bench.cases import Cases, Sizes
from foldcli.bench.host import host_info, use_fold_allocator
from foldcli.bench.limits import limits_of
from foldcli.bench.peers import attention
from foldcli.bench.peers.comparison import Compared, Comparison, compare_calls
from foldcli.bench.peers.jax_alphafold import against_alphafold
from foldcli.bench.request import Request, device_and_dtype
from foldcli.errors import InputError

ATTENTION = {
    "sdpa": (attention.sdpa, "torch"),
    "trifast": (attention.trifast, "trifast"),
    "cuequivariance": (attention.cuequivariance, "cuequivariance_torch"),
}
PEERS = ("jax", "compile", *ATTENTION)
ONLY_CUDA = ("trifast", "cuequivariance")


def compare(request: Request, peers: Sequence[str], rounds: int, progress: Callable[[str], None]) -> Compared:
    """Compare with each peer; `progress` is called with its name. InputError: it is unknown or cannot run here."""
    device, dtype = device_and_dtype(request.device, request.dtype)
    require(peers, device)
    if request.device == "cuda" and "jax" in peers:
        raise InputError("--peers jax: runs on the CPU alone; leave out --device cuda")
    use_fold_allocator(device)
    found: list[Comparison] = []
    for peer in peers:
        progress(peer)
        found += _against(peer, request, device, dtype, rounds)
    return Compared(host_info(device), request, limits_of(device, dtype), found)


def require(peers: Sequence[str], device: torch.device) -> None:
    """InputError if a peer is unknown, not installed, or needs a GPU."""
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
    """An Evoformer block against torch.compile of the same block with plain bodies."""
    case = cases.case("evoformer.block")
    with ops.backend("reference"):
        compiled = torch.compile(case.module, dynamic=False)
        compiled(*case.inputs)  # compiles

    def peer() -> Any:
        with ops.backend("reference"):
            return compiled(*case.inputs)

    return compare_calls(case.name, "compile", partial(case.module, *case.inputs), peer, cases, rounds)


def _attention(cases: Cases, name: str, peer: str, rounds: int) -> Comparison:
    """Attention without its projections; the peer gets contiguous q, k and v, which suits it best."""
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
    return compare_calls(f"{name}, attention alone", peer, ours, theirs, cases, rounds)


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3).contiguous()
