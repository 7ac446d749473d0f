"""What the machine code of a compiled kernel tells of it: registers, spills, instructions a score of attention."""

import re
import subprocess
import tempfile
from typing import Any

# Instructions that one lane may issue for a score (a query-key pair of one row), in bf16 with a bias, head dim 32, on
# sm_90. An H100 issues 128 a cycle and multiprocessor: 11 a score bound attention forward at 345 TFLOP/s.
SCORE_LIMITS = {
    "attention_forward": 11.0,
    "attention_backward_dkv": 14.0,
    "attention_backward_dq": 14.0,
    "attention_backward_dbias": 13.0,
}


def dump(cubin: bytes, option: str) -> str:
    """Return what cuobjdump, which ships with Triton, prints of machine code."""
    from triton import knobs

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, option, file.name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def resources(cubin: bytes) -> tuple[int, int]:
    """Return registers a thread and bytes of stack, where spilled registers go, as the assembler recorded them."""
    found = re.findall(r"REG:(\d+) STACK:(\d+)", dump(cubin, "--dump-resource-usage"))
    return max(int(registers) for registers, _ in found), sum(int(stack) for _, stack in found)


def instructions_per_score(cubin: bytes, config: Any) -> float:
    """Return how many instructions a lane issues for each of its scores; 0 for what is not a loop over tiles of them.

    config: of the kernel, whose tiles have ROWS (1 where it has none) x BLOCK_M x BLOCK_N scores.
    """
    constants = config.constexprs
    if config.function.__name__ not in SCORE_LIMITS:
        return 0.0
    scores = constants.get("ROWS", 1) * constants["BLOCK_M"] * constants["BLOCK_N"]
    return main_loop(dump(cubin, "-sass")) / (scores / (32 * config.num_warps))


def main_loop(sass: str) -> int:
    """Return the number of instructions in the shortest loop that multiplies matrices.

    Code that waits for a copy lies behind the kernel's end and jumps back, so that the longest loop is none.
    """
    lines = [(int(at, 16), text) for at, text in re.findall(r"/\*([0-9a-f]{4,5})\*/\s+(.*?);", sass)]
    place = {at: index for index, (at, _) in enumerate(lines)}
    products = [index for index, (_, text) in enumerate(lines) if "MMA." in text]
    found = []
    for end, (_, text) in enumerate(lines):
        jump = re.search(r"BRA(?:\.\w+)*\s+(?:\S+,\s*)?0x([0-9a-f]+)", text)
        start = place.get(int(jump[1], 16), end) if jump else end
        if any(start <= index < end for index in products):
            found.append(end - start + 1)
    return min(found, default=0)


def too_many(config: Any, capability: int, per_score: float) -> str:
    """Say that a kernel issues more instructions a score than it may; "" where it does not, or has no limit."""
    limit = SCORE_LIMITS.get(config.function.__name__, 0.0)
    held = capability >= 90 and config.constexprs.get("DIM") == 32 and config.constexprs.get("bias", "") is not None
    if not held or config.signature.get("packed") != "*bf16" or per_score <= limit:
        return ""
    return f"{per_score:.1f} instructions a score, {limit:g} are allowed"
