"""Print, as JSON, what the host does in a fold with every kernel: whether torch._dynamo is imported.

A script: launches can be noted only where Triton interprets no kernels, as it does in the tests' own process.
"""

import json
import sys

import torch

from foldcli.bench.cases import Sizes
from foldcli.bench.launches import fold, one_block_model
from foldcli.ops.kernel_launches import recorded_launches


def main() -> None:
    torch.set_num_threads(1)
    cases = one_block_model("model_1_ptm", torch.bfloat16)
    with recorded_launches():
        fold(cases, Sizes(12, 4, 4))
    print(json.dumps({"dynamo": "torch._dynamo" in sys.modules}))


if __name__ == "__main__":
    main()
