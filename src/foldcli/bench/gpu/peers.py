"""The same work by other libraries: PyTorch's fused attention and compiler, trifast and cuEquivariance."""

import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from foldcli import ops
from foldcli.bench.gpu.cases import Draw, Work, attention, precision
from foldcli.bench.gpu.figures import (
    BLOCK_GOALS,
    DIM,
    HEADS,
    ReportRows,
    block_work,
    lengths,
    multiplication,
    timed,
)
from foldcli.bench.gpu.timing import backward, forward
from foldcli.bench.peers.attention import Attend, cuequivariance, sdpa, trifast


def attention_peers(device: torch.device) -> ReportRows:
    """Yield triangle attention without its gate, which none of these has, by all libraries that can be imported."""
    others: dict[str, Attend] = {"trifast": trifast, "cuequivariance_torch": cuequivariance}
    peers: dict[str, Attend] = {"torch's fused attention, no mask": sdpa}
    peers |= {name: attend for name, attend in others.items() if importlib.util.find_spec(name) is not None}
    for by, attend in peers.items():
        for n in lengths(device):
            draw, product = Draw(device, precision(device)), 2 * n**3 * HEADS * DIM
            leaves = {name: draw(n, HEADS, n, DIM) for name in "qkv"} | {"bias": draw(HEADS, n, n)}
            fixed = {"mask": draw.mask(n, n)}
            work = Work(leaves, fixed, partial(_call, attend)).to(precision(device))
            row = {"size": f"N={n}", "by": by}
            for what, prepare, products in (
                ("forward", partial(forward, work.run, "auto"), 2),
                ("backward", partial(backward, work.run, list(work.leaves.values()), "auto"), 5),
            ):
                yield timed({"what": f"triangle attention {what}"} | row, prepare, device, flop=products * product)


def _call(attend: Attend, x: dict[str, Tensor]) -> list[Tensor]:
    return [attend(x["q"], x["k"], x["v"], x["bias"], x["mask"])]


def multiplication_peers(device: torch.device) -> ReportRows:
    """Yield triangle multiplication by plain PyTorch and, if installed, by cuEquivariance."""
    make, module = multiplication(device)
    for n in (6,) if device.type == "cpu" else (256, 1024):
        work, row = make(n), {"what": "triangle multiplication forward", "size": f"N={n}"}
        plain = row | {"by": "plain PyTorch"}
        yield timed(plain, partial(forward, work.run, "reference"), device)
        if importlib.util.find_spec("cuequivariance_torch") is not None:
            peer = Work(work.leaves, work.fixed, lambda x: [_update(module, x["z"], x["mask"])])
            yield timed(row | {"by": "cuequivariance_torch"}, partial(forward, peer.run, "auto"), device)


def _update(module: Any, z: Tensor, mask: Tensor) -> Tensor:
    """Call cuEquivariance's update with our parameters: left and right projections are stacked there as here."""
    c = module.norm.scale.numel()
    value, gate = module.operands.weight[: 2 * c], module.operands.weight[2 * c :]
    function = importlib.import_module("cuequivariance_torch").triangle_multiplicative_update
    return function(
        z[None], "outgoing", mask[None],
        norm_in_weight=module.norm.scale, norm_in_bias=module.norm.offset, p_in_weight=value, g_in_weight=gate,
        norm_out_weight=module.center.scale, norm_out_bias=module.center.offset,
        p_out_weight=module.output.weight, g_out_weight=module.gate.weight,
    )  # fmt: skip


def compiled_reference(device: torch.device) -> ReportRows:
    """Yield the reference bodies through torch.compile, and plainly: the block first, whose time matters most."""
    dry = device.type == "cpu"
    compiler = "eager" if dry else "inductor"
    works = [("Evoformer block", f"r={r} s={s}", block_work(device, r, s)[0]) for r, s in _blocks(dry)]
    for n in (6,) if dry else (512, 1024):
        made = attention(Draw(device, precision(device)), n, n, HEADS, DIM, biased=True).to(precision(device))
        works.append(("triangle attention", f"N={n}", made))
    for what, size, work in works:
        row = {"what": f"{what} forward", "size": size}
        yield timed(row | {"by": "plain PyTorch"}, partial(forward, work.run, "reference"), device)
        yield timed(
            row | {"by": "plain PyTorch, torch.compile"},
            partial(_compiled, work, compiler), device,
        )  # fmt: skip


def _blocks(dry: bool) -> list[tuple[int, int]]:
    return [(5, 3)] if dry else list(BLOCK_GOALS)[:2]


def _compiled(work: Work, compiler: str) -> Callable[[], object]:
    inputs = work.leaves | work.fixed
    with ops.backend("reference"):
        function = torch.compile(work.call, backend=compiler, dynamic=False)
    return forward(lambda: function(inputs), "reference")
