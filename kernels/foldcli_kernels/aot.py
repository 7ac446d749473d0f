"""One kernel in one configuration, described well enough to compile it ahead of time (AOT), with no GPU at hand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

POINTER = {torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.float32: "*fp32"}


@dataclass(frozen=True)
class AotConfig:
    """A Triton kernel with the types and constants that it ships with.

    name: shown in the report, such as "attention_forward bfloat16 d32 bias"; function: the jit function; signature:
    argument -> "*bf16", "fp32", "i32" (constants may be left out); constexprs: argument -> value; needs_wgmma: its
    sm_90 code must use Hopper's matrix instructions; capabilities: where this configuration ships; divisible: pointers
    and integers that are multiples of 16 at run time (all pointers where None), since vector loads depend on it;
    launched: noted from a launch (launches.py), not from a table of what ships.
    """

    name: str
    function: Any
    signature: Mapping[str, str]
    constexprs: Mapping[str, Any]
    num_warps: int = 4
    num_stages: int = 2
    needs_wgmma: bool = False
    capabilities: tuple[int, ...] = (80, 90)
    divisible: tuple[str, ...] | None = field(default=None)
    launched: bool = False
