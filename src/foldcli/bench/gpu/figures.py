"""How fast the kernels are, beside the machine's measured peaks; bfloat16, medians of warm calls."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from foldcli.bench.gpu.cases import Draw, Sizes, Work, attention, layer_norm, outer_product, precision, transition
from foldcli.bench.gpu.checks import failure
from foldcli.bench.gpu.kernels import by_kernel
from foldcli.bench.gpu.timing import backward, both, captured, forward, warm_times
from foldcli.config import StackConfig
from foldcli.folding.fused_blocks import fused_copy
from foldcli.model.evoformer import EvoformerStack
from foldcli.model.triangle import OutgoingProduct, TriangleMultiplication

HEADS, DIM, C_Z, C_M = 4, 32, 128, 256
# Goals for one H100, by length: TFLOP/s of attention, milliseconds of the rest.
FORWARD_GOALS = {512: 180.0, 1024: 210.0, 2048: 230.0}
BACKWARD_GOALS = {512: 110.0, 1024: 130.0, 2048: 140.0}
PRODUCT_GOALS = {512: 0.35, 1024: 1.1, 2048: 5.5}
BLOCK_GOALS = {(256, 128): 0.6, (384, 512): 2.6, (2048, 512): 75.0}
BLOCK_BOTH_GOAL = 1.5
ReportRows = Iterator[dict[str, Any]]


def timed(row: dict[str, Any], prepare: Callable[[], Callable[[], object]], device: torch.device, **work: float) -> Any:
    """Return the row with its time, whose spread is that of its middle half, and the rates of its `flop` and `byte`.

    Where it fails, with what went wrong.
    """
    try:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        times = warm_times(prepare(), device)
        ms = statistics.median(times)
        if len(times) > 1:
            low, _, high = statistics.quantiles(times, n=4)
            row = row | {"spread": (high - low) / ms}
        if device.type == "cuda":
            row = row | {"peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 3)}
        rates = {"flop": "tflops", "byte": "tbs"}
        return row | {"ok": True, "ms": ms} | {rates[kind]: count / ms / 1e9 for kind, count in work.items()}
    except Exception as error:  # one failing figure must not lose the others
        return row | failure(error)
    finally:
        torch.cuda.empty_cache()


def ceilings(device: torch.device) -> ReportRows:
    """Yield the rates of a large matrix product and of a large copy."""
    n = 64 if device.type == "cpu" else 8192
    draw = Draw(device, precision(device))
    a, b = draw(n, n), draw(n, n)
    yield timed({"what": "matrix product", "size": f"{n}^3"}, lambda: lambda: a @ b, device, flop=2 * n**3)
    source = draw(8 * n, n)
    target = torch.empty_like(source)
    copied = 2 * source.numel() * source.element_size()
    row = {"what": "copy", "size": f"{copied // 2} bytes"}
    yield timed(row, lambda: lambda: target.copy_(source), device, byte=copied)


def lengths(device: torch.device) -> tuple[int, ...]:
    return (6,) if device.type == "cpu" else (512, 1024, 2048)


def triangle_attention(device: torch.device) -> ReportRows:
    """Yield forward (2 products) and backward (5) of attention over n rows of n, 4 heads of 32."""
    for n in lengths(device):
        work = attention(Draw(device, precision(device)), n, n, HEADS, DIM, biased=True).to(precision(device))
        leaves, product = list(work.leaves.values()), 2 * n**3 * HEADS * DIM
        row = {"size": f"N={n}", "by": "foldcli"}
        to_reach = {"goal_tflops": FORWARD_GOALS.get(n)}
        yield timed(
            {"what": "triangle attention forward"} | row | to_reach,
            partial(forward, work.run, "triton"), device, flop=2 * product,
        )  # fmt: skip
        yield timed(
            {"what": "triangle attention backward"} | row | {"goal_tflops": BACKWARD_GOALS.get(n)},
            partial(backward, work.run, leaves, "triton"), device, flop=5 * product,
        )  # fmt: skip


def multiplication(device: torch.device) -> tuple[Callable[[int], Work], TriangleMultiplication]:
    """Return the triangle multiplication of n residues as work, and its module."""
    c = 16 if device.type == "cpu" else C_Z
    module = TriangleMultiplication(c, c, OutgoingProduct()).to(device, precision(device))

    def make(n: int) -> Work:
        draw = Draw(device, precision(device))
        work = Work({"z": draw(n, n, c)}, {"mask": draw.mask(n, n)}, lambda x: [module(x["z"], x["mask"])])
        return work.to(precision(device))

    return make, module


def triangle_multiplication(device: torch.device) -> ReportRows:
    """Yield the whole update (Suppl. Alg. 11): operands, product, output; 12 n^2 c^2 and 2 n^3 c operations."""
    make, module = multiplication(device)
    c = module.norm.scale.numel()
    for n in (6,) if device.type == "cpu" else (256, *lengths(device)):
        work, flop = make(n), 12 * n**2 * c**2 + 2 * n**3 * c
        leaves = [*work.leaves.values(), *module.parameters()]
        row = {"size": f"N={n} c={c}", "by": "foldcli"}
        goal = {"goal_ms": PRODUCT_GOALS.get(n)}
        yield timed(
            {"what": "triangle multiplication forward"} | row | goal,
            partial(forward, work.run, "triton"), device, flop=flop,
        )  # fmt: skip
        yield timed(
            {"what": "triangle multiplication backward"} | row,
            partial(backward, work.run, leaves, "triton"), device, flop=2 * flop,
        )  # fmt: skip


def dense(device: torch.device) -> ReportRows:
    """Yield layer norm, transition and outer product, with the reference bodies beside them."""
    dry = device.type == "cpu"
    draw, z = Draw(device, precision(device)), Sizes(5, 3, 32, 16, 2, 2, 8) if dry else Sizes(r=384, s=512)
    pairs = z.r**2
    cases = [
        ("layer norm", layer_norm(draw, z.r, z.r, z.c_z), {"byte": 4 * pairs * z.c_z}),
        ("pair transition", transition(draw, z.r, z.r, z.c_z), {"flop": 16 * pairs * z.c_z**2}),
        ("MSA transition", transition(draw, z.s, z.r, z.c_m), {"flop": 16 * z.s * z.r * z.c_m**2}),
        ("outer product mean", outer_product(draw, z), {"flop": 2 * pairs * z.c_outer**2 * (z.s + z.c_z)}),
    ]
    for what, made, rate in cases:
        work = made.to(precision(device))
        for by, backend in (("foldcli", "triton"), ("plain PyTorch", "reference")):
            row = {"size": f"r={z.r} s={z.s}", "by": by}
            yield timed(
                {"what": f"{what} forward"} | row,
                partial(forward, work.run, backend), device, **rate,
            )  # fmt: skip
            yield timed(
                {"what": f"{what} backward"} | row,
                partial(backward, work.run, list(work.leaves.values()), backend), device,
            )  # fmt: skip


def block_work(device: torch.device, r: int, s: int, fused: bool = False) -> tuple[Work, list[torch.Tensor]]:
    """Return one Evoformer block on s rows and r residues, and its parameters; fused: as a GPU folds, no gradients."""
    small = StackConfig(c_m=32, msa_heads=2, pair_heads=2, c_outer=8, c_triangle=16)
    config, c_z = (small, 16) if device.type == "cpu" else (StackConfig(), C_Z)
    torch.manual_seed(0)
    block = EvoformerStack(replace(config, blocks=1), c_z).eval().to(device, precision(device))
    block = fused_copy(block).requires_grad_(False) if fused else block
    draw = Draw(device, precision(device))
    leaves = {"m": draw(s, r, config.c_m), "z": draw(r, r, c_z)}
    masks = {"msa_mask": draw.mask(s, r), "pair_mask": draw.mask(r, r)}
    work = Work(leaves, masks, lambda x: list(block(x["m"], x["z"], x["msa_mask"], x["pair_mask"])))
    return work.to(precision(device)), list(block.parameters())


def evoformer_block(device: torch.device) -> ReportRows:
    """Yield one block launched from Python, one as a CUDA graph, which leaves out the time in Python, its kernels."""
    dry = device.type == "cpu"
    for r, s in ((5, 3),) if dry else BLOCK_GOALS:
        work, parameters = block_work(device, r, s)
        leaves = [*work.leaves.values(), *parameters]
        flop = 2392064 * s * r + 1249280 * r * r + 3072 * s * r * r + 1024 * s * s * r + 1536 * r**3
        folding = work if dry else block_work(device, r, s, fused=True)[0]  # in the interpreter, float32
        calls = [("forward", partial(forward, folding.run, "triton"), BLOCK_GOALS.get((r, s)), flop)]
        if dry or (r, s) == (256, 128):
            calls.append(("forward and backward", partial(both, work.run, leaves, "triton"), BLOCK_BOTH_GOAL, 3 * flop))
        for what, prepare, goal, count in calls:
            row = {"what": f"Evoformer block {what}", "size": f"r={r} s={s}", "goal_ms": goal}
            yield timed(row | {"by": "foldcli"}, prepare, device, flop=count)
            if not dry:
                yield timed(row | {"by": "foldcli, CUDA graph"}, partial(_graph, prepare), device, flop=count)
        in_block = {"size": f"r={r} s={s}", "by": "in an Evoformer block"}
        yield from by_kernel(in_block, partial(forward, folding.run, "triton"), device)


def _graph(prepare: Callable[[], Callable[[], object]]) -> Callable[[], object]:
    return captured(prepare())
