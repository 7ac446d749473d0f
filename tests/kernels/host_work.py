"""Print, as JSON, what the host does in a fold with every kernel: operations of a block, imports, waiting for a GPU.

A script: launches can be noted only where Triton interprets no kernels, as it does in the tests' own process.
"""

import contextlib
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile
from triton.runtime import jit

from foldcli.bench.cases import Sizes
from foldcli.bench.launches import fold, one_block_model
from foldcli.folding.fused_blocks import FusedBlock, Masks, fused_copy
from foldcli.ops.kernel_launches import recorded_launches

# Operations that launch nothing: new tensors and views.
QUIET = {
    "empty", "empty_like", "empty_strided", "new_empty", "view", "reshape", "as_strided", "slice", "transpose", "t",
    "unsqueeze", "expand", "permute", "flatten", "_unsafe_view", "_reshape_alias", "movedim", "matmul", "result_type",
    "resolve_conj", "resolve_neg", "alias",
}  # fmt: skip
# Library products, with all that they do inside: on the CPU copies, where a GPU reads in place.
PRODUCTS = {"mm", "bmm", "addmm"}

# Where the host waits for a GPU, or moves data to it: by methods of a tensor, and by functions of torch.
METHODS = (
    "item", "tolist", "cpu", "numpy", "nonzero", "new_tensor", "masked_select", "__bool__", "__float__", "__int__",
    "__index__",
)  # fmt: skip
FUNCTIONS = "tensor", "as_tensor", "from_numpy", "nonzero", "masked_select"


def main() -> None:
    torch.set_num_threads(1)
    cases = one_block_model("model_1_ptm", torch.bfloat16)
    blocks = fused_copy(cases.model).eval().requires_grad_(False).trunk.evoformer.blocks
    with recorded_launches():
        fold(cases, Sizes(12, 4, 4))
        with waits() as found:  # tables are on the device by now
            fold(cases, Sizes(12, 4, 4))
        dynamo = "torch._dynamo" in sys.modules
        block = {n: of_block(blocks[0], n) for n in (32, 37)}
    print(json.dumps({"dynamo": dynamo, "waits": found, "block": block}))


@contextlib.contextmanager
def waits() -> Iterator[list[str]]:
    """Note where in our code the host would wait for a GPU inside the block, as METHOD file:line."""
    found: list[str] = []

    def noting(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if name != "__getitem__" or any(isinstance(x, Tensor) and x.dtype == torch.bool for x in _indices(args[1])):
                places = [at for at in traceback.extract_stack() if "/foldcli" in at.filename]
                found.append(f"{name} {places[-1].filename.rsplit('/', 1)[-1]}:{places[-1].lineno}")
            return original(*args, **options)

        return call

    kept = [(torch.Tensor, name, getattr(torch.Tensor, name)) for name in (*METHODS, "__getitem__")]
    kept += [(torch, name, getattr(torch, name)) for name in FUNCTIONS]
    for owner, name, original in kept:
        setattr(owner, name, noting(name, original))
    try:
        yield found
    finally:
        for owner, name, original in kept:
            setattr(owner, name, original)


def _indices(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def of_block(block: Any, n: int) -> dict[str, list[str]]:
    """Return the names of all kernels and operations of torch that a block of n residues launches."""
    assert isinstance(block, FusedBlock)

    def filled(*shape: int) -> Tensor:
        return torch.ones(shape, dtype=torch.bfloat16)

    with torch.inference_mode():
        m, z, masks = filled(48, n, 256), filled(n, n, 128), Masks.of(filled(48, n), filled(n, n), torch.bfloat16)
        return counted(lambda: block.updated(m, z, masks))


def counted(work: Callable[[], object]) -> dict[str, list[str]]:
    kernels: list[str] = []
    run = jit.JITFunction.run

    def noted(function: Any, *args: Any, **options: Any) -> Any:
        kernels.append(function.__name__)
        return run(function, *args, **options)

    jit.JITFunction.run = noted
    try:
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            work()
    finally:
        jit.JITFunction.run = run
    roots = [event for event in profiled.events() if event.cpu_parent is None]
    return {"kernels": kernels, "operations": [name for event in roots for name in launched(event)]}


def launched(event: FunctionEvent) -> list[str]:
    """Return the operations inside an event that launch something."""
    name = event.name.removeprefix("aten::")
    inner = [] if name in PRODUCTS else [found for child in event.cpu_children for found in launched(child)]
    return inner or ([name] if name not in QUIET and event.name.startswith("aten::") else [])


if __name__ == "__main__":
    main()
