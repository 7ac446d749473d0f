"""Units of memory, in bytes."""

MIB, GIB = 1 << 20, 1 << 30
# As a user writes them: "12GiB", "500MB".
BYTES = {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", 1)}
BYTES |= {f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", 1)}
