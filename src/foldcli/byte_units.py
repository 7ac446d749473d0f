"""Units of memory, in bytes."""

MIB, GIB = 1 << 20, 1 << 30
# As a user writes them: "12GiB", "500MB".
BYTES = {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", 1)}
BYTES |= {f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", 1)}


def amount(count: float) -> str:
    """Bytes as a user reads them: "1.50 GiB", and below 1 GiB "600 MiB" or "100 KiB"."""
    if count < MIB:
        return f"{count / 1024:.0f} KiB"
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / MIB:.0f} MiB"
