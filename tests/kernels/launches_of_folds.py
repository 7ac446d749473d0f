"""Print launches of two folds that those of other sizes of the same classes lack, and every count that Triton knows.

A script: launches can be noted only where Triton interprets no kernels, as it does in the tests' own process.
"""

import torch
from foldcli_kernels.aot import AotConfig

from foldcli.bench.cases import Sizes
from foldcli.bench.launches import fold, one_block_model, sizes_of
from foldcli.ops.kernel_launches import recorded_launches

# Sizes that are compiled ahead of time -> others of their class: all multiples of 4, and a single sequence.
SAME = {Sizes(12, 4, 4): Sizes(20, 8, 4), Sizes(5, 1, 1): Sizes(7, 1, 1)}
# What a kernel loops over, or how much there is of it.
COUNTS = {
    "sequences", "rows", "groups", "row_groups", "last", "spare", "keys", "columns", "blocks", "count", "per_batch",
    "per_share",
}  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    cases = one_block_model("model_1_ptm", torch.bfloat16)
    assert set(SAME) <= set(sizes_of(cases))
    with recorded_launches() as known:
        for sizes in SAME:
            fold(cases, sizes)
    with recorded_launches() as found:
        for sizes in SAME.values():
            fold(cases, sizes)
    described = {repr(config) for config in known}
    print(*(f"not compiled: {config.name}" for config in found if repr(config) not in described), sep="\n")
    print(*(f"known count: {config.name}" for config in found if known_counts(config)), sep="\n")
    print(f"{len(found)} launches")


def known_counts(config: AotConfig) -> set[str]:
    """Return the counts whose value is part of the compiled code."""
    return COUNTS & {*config.constexprs, *(name for name in config.divisible if config.signature[name][0] == "i")}


if __name__ == "__main__":
    main()
