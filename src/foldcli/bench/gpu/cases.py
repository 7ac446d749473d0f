"""Operations with random inputs of given sizes: what the report checks, tunes and times."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from foldcli import ops


@dataclass(frozen=True)
class Sizes:
    """Lengths: r residues, s MSA rows, channels and heads of MSA and pairs, channels of the outer product's factors."""

    r: int
    s: int
    c_m: int = 256
    c_z: int = 128
    msa_heads: int = 8
    pair_heads: int = 4
    c_outer: int = 32


# TINY is small enough for the interpreter; in ODD every last tile is partly filled; REAL is what a fold has.
TINY = Sizes(r=5, s=3, c_m=32, c_z=16, msa_heads=2, pair_heads=2, c_outer=8)
ODD = Sizes(r=67, s=29)
REAL = Sizes(r=256, s=128)
# What a dry run takes, one of each kind of kernel: all cases would take minutes in the interpreter.
FEW = ("attention of triangles", "layer norm and projections of pairs", "operands of the triangle product")


def precision(device: torch.device) -> torch.dtype:
    """Return the dtype to time and tune: bfloat16; float32 in the interpreter, which multiplies bfloat16 wrongly."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


@dataclass
class Draw:
    """Draws tensors on a device: normal random numbers, scaled and shifted."""

    device: torch.device
    dtype: torch.dtype
    seed: int = 0
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator(self.device).manual_seed(self.seed)

    def __call__(self, *shape: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
        noise = torch.randn(shape, generator=self.generator, device=self.device)
        return (noise * scale + shift).to(self.dtype)

    def dense(self, outputs: int, inputs: int) -> tuple[Tensor, Tensor]:
        return self(outputs, inputs, scale=inputs**-0.5), self(outputs, scale=0.1)

    def norm(self, channels: int) -> tuple[Tensor, Tensor]:
        return self(channels, scale=0.1, shift=1.0), self(channels, scale=0.1)

    def mask(self, *shape: int) -> Tensor:
        """Return a mask in which one key in ten is masked, but never the first of a row."""
        keep = torch.rand(shape, generator=self.generator, device=self.device) > 0.1
        keep[..., 0] = True
        return keep.to(self.dtype)


@dataclass(frozen=True)
class Work:
    """One call of an operation: inputs with gradients, inputs without, and the call."""

    leaves: dict[str, Tensor]
    fixed: dict[str, Tensor]
    call: Callable[[dict[str, Tensor]], list[Tensor]]

    def to(self, dtype: torch.dtype) -> "Work":
        """Return the same work in another precision, with new leaves that collect gradients."""
        leaves = {name: x.detach().to(dtype).requires_grad_() for name, x in self.leaves.items()}
        return replace(self, leaves=leaves, fixed={name: x.to(dtype) for name, x in self.fixed.items()})

    def run(self) -> list[Tensor]:
        return self.call(self.leaves | self.fixed)


def attention(draw: Draw, rows: int, length: int, heads: int, dim: int, biased: bool, columns: bool = False) -> Work:
    """Gated attention; `columns` reads the packed projection through a transposed view, as MSA columns are read."""
    shape = (length, rows) if columns else (rows, length)
    leaves = {"packed": draw(*shape, 4 * heads * dim), "gate_bias": draw(heads * dim)}
    leaves |= {"bias": draw(heads, length, length)} if biased else {}

    def call(x: dict[str, Tensor]) -> list[Tensor]:
        packed = x["packed"].transpose(0, 1) if columns else x["packed"]
        return [ops.gated_attention(packed, x["gate_bias"], heads, x["mask"], x.get("bias"))]

    return Work(leaves, {"mask": draw.mask(rows, length)}, call)


def global_attention(draw: Draw, z: Sizes) -> Work:
    dim = z.c_m // z.msa_heads
    leaves = {"q": draw(z.r, z.msa_heads, dim), "k": draw(z.r, z.s, dim), "v": draw(z.r, z.s, dim)}
    return Work(
        leaves,
        {"mask": draw.mask(z.r, z.s)},
        lambda x: [ops.global_attention(x["q"], x["k"], x["v"], x["mask"])],
    )


def layer_norm(draw: Draw, rows: int, length: int, channels: int) -> Work:
    leaves = dict(zip(("scale", "offset"), draw.norm(channels), strict=True))
    leaves["x"] = draw(length, rows, channels, shift=0.5)
    return Work(leaves, {}, lambda x: [ops.layer_norm(x["x"].transpose(0, 1), (x["scale"], x["offset"]))])


def norm_linear(draw: Draw, rows: int, length: int, channels: int, outputs: tuple[int, ...]) -> Work:
    leaves = dict(zip(("scale", "offset"), draw.norm(channels), strict=True)) | {"x": draw(rows, length, channels)}
    leaves |= {f"weight {i}": draw.dense(n, channels)[0] for i, n in enumerate(outputs)}

    def call(x: dict[str, Tensor]) -> list[Tensor]:
        dense = [(x[f"weight {i}"], None) for i in range(len(outputs))]
        return list(ops.norm_linear(x["x"], (x["scale"], x["offset"]), dense))

    return Work(leaves, {}, call)


def transition(draw: Draw, rows: int, length: int, channels: int) -> Work:
    names = ("scale", "offset", "wide", "wide_bias", "narrow", "narrow_bias")
    parts = (*draw.norm(channels), *draw.dense(4 * channels, channels), *draw.dense(channels, 4 * channels))
    leaves = dict(zip(names, parts, strict=True)) | {"x": draw(rows, length, channels)}

    def call(x: dict[str, Tensor]) -> list[Tensor]:
        scale, offset, wide, wide_bias, narrow, narrow_bias = (x[name] for name in names)
        return [ops.transition(x["x"], (scale, offset), (wide, wide_bias), (narrow, narrow_bias))]

    return Work(leaves, {}, call)


def triangle_operands(draw: Draw, z: Sizes) -> Work:
    names = ("scale", "offset", "weight", "bias")
    leaves = dict(zip(names, (*draw.norm(z.c_z), *draw.dense(4 * z.c_z, z.c_z)), strict=True))
    leaves["z"] = draw(z.r, z.r, z.c_z)

    def call(x: dict[str, Tensor]) -> list[Tensor]:
        scale, offset, weight, bias = (x[name] for name in names)
        return list(ops.triangle_operands(x["z"], (scale, offset), (weight, bias), x["mask"]))

    return Work(leaves, {"mask": draw.mask(z.r, z.r)}, call)


def triangle_update(draw: Draw, z: Sizes) -> Work:
    names = ("center", "shift", "weight", "bias", "scale", "offset", "gate", "gate_bias")
    parts = (*draw.norm(z.c_z), *draw.dense(z.c_z, z.c_z), *draw.norm(z.c_z), *draw.dense(z.c_z, z.c_z))
    leaves = dict(zip(names, parts, strict=True)) | {"product": draw(z.c_z, z.r, z.r), "z": draw(z.r, z.r, z.c_z)}

    def call(x: dict[str, Tensor]) -> list[Tensor]:
        center, output, norm, gate = ((x[a], x[b]) for a, b in zip(names[::2], names[1::2], strict=True))
        return [ops.triangle_update(x["product"], x["z"], center, output, norm, gate)]

    return Work(leaves, {}, call)


def outer_product(draw: Draw, z: Sizes) -> Work:
    weight, bias = draw.dense(z.c_z, z.c_outer**2)
    sides = {name: draw(z.s, z.r, z.c_outer) for name in ("left", "right")}
    mask = draw.mask(z.s, z.r)

    def call(x: dict[str, Tensor]) -> list[Tensor]:
        return [ops.outer_product_mean(x["left"], x["right"], (x["weight"], x["bias"]), x["count"])]

    return Work(sides | {"weight": weight, "bias": bias}, {"count": mask.T @ mask}, call)


def dropout(draw: Draw, rows: int, length: int, channels: int) -> Work:
    leaves = {"x": draw(rows, length, channels), "update": draw(rows, length, channels)}
    seed = torch.tensor(2**40 + 7, device=draw.device)
    return Work(leaves, {}, lambda x: [ops.dropout_add(x["x"], x["update"], seed, 0.25, -3)])


CASES: dict[str, Callable[[Draw, Sizes], Work]] = {
    "attention of triangles": lambda d, z: attention(d, z.r, z.r, z.pair_heads, z.c_z // z.pair_heads, True),
    "attention of MSA rows": lambda d, z: attention(d, z.s, z.r, z.msa_heads, z.c_m // z.msa_heads, True),
    "attention of MSA columns": lambda d, z: attention(d, z.r, z.s, z.msa_heads, z.c_m // z.msa_heads, False, True),
    "attention, head dim 8": lambda d, z: attention(d, z.s, z.r, 4, 8, True),
    "attention, head dim 16": lambda d, z: attention(d, z.s, z.r, 4, 16, True),
    "attention, head dim 64": lambda d, z: attention(d, z.s, z.r, 2, 64, True),
    "global attention": global_attention,
    "layer norm of the MSA": lambda d, z: layer_norm(d, z.s, z.r, z.c_m),
    "layer norm of pairs": lambda d, z: layer_norm(d, z.r, z.r, z.c_z),
    "layer norm and projections of the MSA": lambda d, z: norm_linear(d, z.s, z.r, z.c_m, (4 * z.c_m,)),
    "layer norm and projections of pairs": lambda d, z: norm_linear(d, z.r, z.r, z.c_z, (4 * z.c_z, z.pair_heads)),
    "transition of the MSA": lambda d, z: transition(d, z.s, z.r, z.c_m),
    "transition of pairs": lambda d, z: transition(d, z.r, z.r, z.c_z),
    "operands of the triangle product": triangle_operands,
    "update by the triangle product": triangle_update,
    "outer product mean": outer_product,
    "dropout of rows": lambda d, z: dropout(d, z.s, z.r, z.c_m),
}


def cases(device: torch.device) -> dict[str, Callable[[Draw, Sizes], Work]]:
    """Return all cases by name; a few of them where they are interpreted."""
    return {name: CASES[name] for name in FEW} if device.type == "cpu" else CASES
