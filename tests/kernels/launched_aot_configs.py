"""A launch that once needed more shared memory than there is, for the report on compiled kernels."""

from dataclasses import replace

import torch
from foldcli_kernels.aot import AotConfig
from foldcli_kernels.launches import recorded
from foldcli_kernels.outer_product import outer_product_mean


def aot_configs() -> list[AotConfig]:
    """Return the outer product as AlphaFold's presets launch it, once for a single sequence and for several."""
    with recorded() as found, torch.inference_mode():
        for sequences in (1, 5, 16):
            x = torch.zeros(sequences, 37, 32, dtype=torch.bfloat16)
            outer_product_mean(x, x, (x.new_zeros(128, 1024), x.new_zeros(128)), x.new_ones(37, 37))
    return [replace(config, capabilities=(90,)) for config in found]
