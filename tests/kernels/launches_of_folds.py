"""Print launches of two folds that those of other sizes of the same classes lack, and every count that Triton knows.

And those that the process which compiles ahead of a run does not make on meta tensors of the same sizes.

A script: launches can be noted only where Triton interprets no kernels, as it does in the tests' own process.
"""

from dataclasses import replace

import torch
from foldcli_kernels.aot import AotConfig

from foldcli.bench.cases import TEMPLATES, Cases, Sizes
from foldcli.bench.launches import fold, one_block_model, sizes_of
from foldcli.folding.compile_kernels import work
from foldcli.folding.fused_blocks import fused_copy
from foldcli.folding.models import meta_model
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
    print(*(f"not compiled ahead: {name}" for name in not_ahead(cases)), sep="\n")
    print(f"{len(found)} launches")


@torch.inference_mode()
def not_ahead(cases: Cases) -> list[str]:
    """Name launches of passes, first and later ones of both forms, that passes on meta tensors lack."""
    made, ahead = list[AotConfig](), set[str]()
    for cases.sizes in SAME.values():
        msa = replace(cases.config.msa, max_clusters=cases.sizes.depth, max_extra=cases.sizes.extra)
        size = cases.sizes.residues, cases.sizes.depth + cases.sizes.extra, TEMPLATES
        blank = meta_model(replace(cases.config, msa=msa), cases.dtype)
        recycled = cases.recycled()
        for model, ghost in ((cases.model, blank), (fused_copy(cases.model), fused_copy(blank))):
            with recorded_launches() as found:
                model(cases.features(), None)
                model(cases.features(), replace(recycled, pair=recycled.pair.to(cases.dtype)))
            made += found
            with recorded_launches() as found:
                work(ghost, cases.dtype, False, size)
            ahead |= set(map(repr, found))
    return [config.name for config in made if repr(config) not in ahead]


def known_counts(config: AotConfig) -> set[str]:
    """Return the counts whose value is part of the compiled code."""
    return COUNTS & {*config.constexprs, *(name for name in config.divisible if config.signature[name][0] == "i")}


if __name__ == "__main__":
    main()
