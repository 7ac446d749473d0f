"""How much memory a fold takes, and the longest sequence that fits."""

import math

import torch

from foldcli.byte_units import amount
from foldcli.config import ModelConfig
from foldcli.errors import FoldcliError
from foldcli.system_memory import available_bytes

LONGEST = 1 << 20


def predicted_bytes(config: ModelConfig, length: int, depth: int, width: int, templates: int = 0) -> int:
    """Peak bytes of a fold of `length` residues and `depth` MSA rows, at `width` bytes a number in the trunk.

    templates: how many are shown, if the model takes any.

    The most that any step allocates, with the operations' reference bodies, plus what is alive throughout: features,
    representations, and those of the previous pass.
    """
    main, extra, c_z, pairs = config.evoformer, config.extra_msa, config.c_z, length * length
    rows = min(depth, config.msa.max_clusters)
    extra_rows = min(max(depth - rows, 1), config.msa.max_extra)
    m, e = rows * length * main.c_m, extra_rows * length * extra.c_m
    steps = (
        7.3 * m,  # MSA attention: packed queries, keys, values and gates; their output; the rows themselves
        8 * e,  # the same in the extra MSA stack
        m + pairs * (main.c_outer**2 + 2.2 * c_z),  # the outer product before its projection
        m + pairs * (8 * main.c_triangle + 2 * c_z),  # triangle multiplication: operands, gates, biases
    )
    shown = _template_bytes(config, templates * pairs, width)
    features = 2 * 4 * length * (50 * rows + 5 * extra_rows)
    trunk = width * (3 * pairs * c_z + m) + max(width * max(steps), shown)
    # the pairs in float32, then normalised; logits of the attention, as sums of two and weights
    structure = pairs * (width * c_z + 4 * (c_z + max(c_z * (width < 4), 5 * config.structure.heads)))
    return int(features + width * (m + pairs * c_z) + max(trunk, structure))


def _template_bytes(config: ModelConfig, pairs: int, width: int) -> int:
    """The most that a step of the template embedder allocates, for the pairs of all templates together."""
    if config.template is None:
        return 0
    return pairs * width * (6 * config.template.c_triangle + 2 * config.template.c_t)  # triangle multiplication


def require_memory(
    config: ModelConfig, length: int, depth: int, width: int, device: torch.device, share: float = 1.0,
    templates: int = 0,
) -> float:  # fmt: skip
    """How many times a fold would fit into free memory; FoldcliError, which says what length would fit, if not once.

    share: part of the fold that is in this device's memory: ranks in that memory, over ranks that share the fold.
    """
    free, needed = available_bytes(device), int(share * predicted_bytes(config, length, depth, width, templates))
    if free is not None and needed > free:
        fits = longest_that_fits(config, int(free / share), depth, width, templates)
        raise FoldcliError(
            f"{length} residues need about {amount(needed)} for {config.name} and {amount(free)} are free; "
            f"up to {fits} residues would fit; {savings(width, depth, templates)}"
        )
    return math.inf if free is None else free / needed


def savings(width: int, depth: int, templates: int) -> str:
    """Advice on how to fold with less memory.

    width: bytes a number in the trunk; depth: rows of the alignment; templates: how many are shown, or may be.
    """
    ways = ["--precision bf16"] * (width > 2) + ["--no-templates"] * (templates > 0)
    ways += ["fewer rows (model.msa.max_extra=N)"] * (depth > 1)
    return "to save memory take " + " or ".join([*ways, "a shorter sequence"])


def longest_that_fits(config: ModelConfig, free: int, depth: int, width: int, templates: int = 0) -> int:
    """The longest sequence, in residues, whose fold is predicted to take at most `free` bytes."""
    low, high = 0, LONGEST
    while low < high:
        middle = (low + high + 1) // 2
        if predicted_bytes(config, middle, depth, width, templates) <= free:
            low = middle
        else:
            high = middle - 1
    return low
