"""The kernel that adds shares, as it is compiled ahead of time."""

import itertools

from foldcli_kernels.aot import POINTER, AotConfig
from foldcli_kernels.shares.kernel import shares_add
from foldcli_kernels.shares.tiles import NARROW, SHARES_AT_ONCE, WIDE
from foldcli_kernels.tuning import Parameters


def aot_configs() -> list[AotConfig]:
    """Return the kernel in every type and tile, for every number of tensors."""
    counts = range(1, SHARES_AT_ONCE + 1)
    return [_config(*each) for each in itertools.product(POINTER.values(), counts, (NARROW, WIDE))]


def _config(kind: str, count: int, tile: Parameters) -> AotConfig:
    missing = {f"shares_{n}": None for n in range(count + 1, SHARES_AT_ONCE + 1)}
    constants = {**tile, **missing}
    signature = {name: "i32" for name in shares_add.arg_names if name not in constants}
    pointers = [name for name in signature if name.startswith("shares")]
    signature |= dict.fromkeys(pointers, "*fp32") | {"out": kind}
    name = f"{shares_add.__name__} {kind[1:]} of {count} {tile['PARTS']}x{tile['BLOCK']}"
    return AotConfig(name, shares_add, signature, constants, 4, 2, divisible=(*pointers, "out"))
