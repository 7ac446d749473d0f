"""Peak memory against time under AutoChunk's plans, on the CPU (`make bench-autochunk`).

    python benchmarks/autochunk.py trunk --seq-len 1024    # also against chunks of a fixed number of rows
    python benchmarks/autochunk.py networks                # GPT, ViT and U-Net from torch's own layers

Memory is the peak of what torch's CPU allocator hands out during one pass: results included, parameters and inputs not.
Measurements are added to --json, each curve with the machine it was taken on.
"""

import argparse
import json
import os
from dataclasses import asdict, replace
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the foldcli command does, before torch loads OpenMP
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch
from autochunk_fixed import fixed_chunks
from rich.console import Console

from foldcli.bench.autochunk.curve import SLOWDOWNS, CurveBench, Point, curve, curve_png, table, title, trunk
from foldcli.bench.autochunk.networks import TransformerBlock, UNet
from foldcli.bench.request import Request
from foldcli.files import write_atomic

ROOT = Path(__file__).parents[1]
FIXED = (128, 64, 4)
NETWORKS = {
    "gpt": (lambda: TransformerBlock(768, 12, True), (1, 4096, 768)),
    "vit": (lambda: TransformerBlock(768, 12, False), (4, 2304, 768)),
    "unet": (lambda: UNet(64), (1, 3, 192, 192)),
}


def show(point: Point) -> None:
    print(f"{point.name}: {point.peak / 2**20:,.0f} MiB, {point.seconds:.2f} s", *point.words, sep="\n  ", flush=True)


def fixed(bench: CurveBench, chunk: int) -> Point:
    def run(*inputs: object) -> object:
        with fixed_chunks(bench.module, chunk):
            return bench.module(*inputs)

    return bench.point(f"rows {chunk}", run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["trunk", "networks"])
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--msa", type=int, default=128)
    parser.add_argument("--extra-msa", type=int, default=1024)
    parser.add_argument("--chunks", type=int, nargs="*", default=FIXED, help="sizes of the fixed chunks, rows")
    parser.add_argument("--slowdowns", type=float, nargs="*", default=SLOWDOWNS, help="plans: predicted time at most")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/autochunk.json")
    args = parser.parse_args()
    request = Request(
        (args.seq_len,), args.msa, args.extra_msa, "model_1_ptm", (), 1, False, "cpu", "fp32", 0.0, ()
    )  # fmt: skip
    torch.manual_seed(0)
    if args.what == "trunk":
        bench = trunk(request)
        rows = (fixed(bench, chunk) for chunk in args.chunks)
        found = {f"trunk {args.seq_len}": curve(title(request), request, bench, show, rows, args.slowdowns)}
    else:
        found = {
            name: curve(
                f"{name} on {' x '.join(map(str, shape))}", replace(request, model=name, lengths=shape, blocks=None),
                CurveBench(make().eval().requires_grad_(False), (torch.randn(shape),)), show, (), args.slowdowns,
            )
            for name, (make, shape) in NETWORKS.items()
        }  # fmt: skip
    before = json.loads(args.json.read_text()) if args.json.exists() else {}
    write_atomic(args.json, json.dumps({**before, **{k: asdict(v) for k, v in found.items()}}, indent=1) + "\n")
    for name, one in found.items():
        Console(width=140).print(table(one))
        if args.what == "trunk":
            curve_png(args.json.with_name(f"autochunk-{name.replace(' ', '-')}.png"), one)


if __name__ == "__main__":
    main()
