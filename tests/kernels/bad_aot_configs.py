"""Configurations that the report on compiled kernels must refuse, each for one reason, and one that it must pass."""

from dataclasses import replace

import triton
import triton.language as tl
from foldcli_kernels.aot import AotConfig
from foldcli_kernels.attention import aot as attention


@triton.jit  # type: ignore[untyped-decorator]
def product(a, b, c, size, STEP: tl.constexpr, TILE: tl.constexpr):  # type: ignore[no-untyped-def]
    """One tile of a matrix product, pipelined over STEP columns at a time."""
    row, inner = tl.arange(0, TILE), tl.arange(0, STEP)
    total = tl.zeros((TILE, TILE), tl.float32)
    for start in range(0, size, STEP):
        left = tl.load(a + row[:, None] * size + start + inner[None, :])
        right = tl.load(b + row[:, None] * size + start + inner[None, :])
        total = tl.dot(left, tl.trans(right), total)
    tl.store(c + row[:, None] * TILE + row[None, :], total)


@triton.jit  # type: ignore[untyped-decorator]
def unknown_name(a):  # type: ignore[no-untyped-def]
    tl.store(a, tl.no_such_function(a))


def _product(name: str, warps: int, stages: int, step: int, tile: int) -> AotConfig:
    signature = {"a": "*bf16", "b": "*bf16", "c": "*fp32", "size": "i32"}
    return AotConfig(
        name, product, signature, {"STEP": step, "TILE": tile}, warps, stages, True, (90,), ("a", "b", "c", "size")
    )


def _short_tile() -> AotConfig:
    """Attention with so few keys a step that most of what it does is not for a single score."""
    name = "attention_forward bfloat16 d32 bias"
    config = next(config for config in attention.aot_configs() if config.name.startswith(name))
    return replace(config, name="short tile", constexprs={**config.constexprs, "BLOCK_N": 16}, capabilities=(90,))


def aot_configs() -> list[AotConfig]:
    return [
        _short_tile(),
        _product("sound", warps=4, stages=3, step=64, tile=64),
        _product("spills", warps=4, stages=2, step=32, tile=256),
        _product("shared memory", warps=8, stages=8, step=128, tile=128),
        _product("no matrix instruction", warps=1, stages=2, step=32, tile=32),
        AotConfig("does not compile", unknown_name, {"a": "*fp32"}, {}, capabilities=(90,)),
    ]
