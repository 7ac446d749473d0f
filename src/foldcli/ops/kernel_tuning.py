"""Launch parameters of the kernels, for what tunes them: only `ops` imports foldcli_kernels."""

from foldcli_kernels.tuning import Parameters, asked, declared, forced, record, ship, write

__all__ = ["Parameters", "asked", "declared", "forced", "record", "ship", "write"]
