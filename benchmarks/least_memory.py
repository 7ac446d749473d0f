"""The least memory that AutoChunk's plans need for each update of the pairs, predicted, in pair tensors.

One pair tensor is residues x residues x 128 numbers in bfloat16: 37 GB at 12,000 residues. Nothing is computed.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from foldcli.autochunk import Chunked
from foldcli.autochunk.cost import DeviceRates
from foldcli.autochunk.planner import Planner
from foldcli.compose import model_config
from foldcli.folding.models import meta_model
from foldcli.model.evoformer import EvoformerBlock

# About those of an H100; they decide between plans of equal memory alone.
RATES = DeviceRates(4e14, 2e12, 2e12, 1e-13, 1e-5, 5e10)
HOST = 1e12
# The pairs themselves, and what must be there beside them: the bias of 4 heads; a quarter, peeled off.
LEAST = {
    "outer product mean": "1", "triangle multiplication, outgoing": "1.25", "triangle multiplication, incoming": "1.25",
    "triangle attention, starting": "1.03", "triangle attention, ending": "1.03", "pair transition": "1",
}  # fmt: skip


class Update(nn.Module):
    """One update of a block, added to the pairs."""

    def __init__(self, block: EvoformerBlock, update: Callable[..., Tensor]) -> None:
        super().__init__()
        self.block, self.update = block, update

    def forward(self, z: Tensor, *others: Tensor) -> Tensor:
        return self.update(z, *others)


def updates(block: EvoformerBlock, length: int, rows: int) -> dict[str, tuple[Callable[..., Tensor], tuple[Any, ...]]]:
    """Each update of the pairs, with fake inputs; the pairs come first."""
    with FakeTensorMode():
        half = torch.bfloat16
        z, mask = torch.empty(length, length, 128, dtype=half), torch.empty(length, length, dtype=half)
        m, m_mask = torch.empty(rows, length, 256, dtype=half), torch.empty(rows, length, dtype=half)
    found = (
        (lambda z, m, mask: z + block.outer_product_mean(m, mask), (z, m, m_mask)),
        (lambda z, mask: z + block.outgoing(z, mask), (z, mask)),
        (lambda z, mask: z + block.incoming(z, mask), (z, mask)),
        (lambda z, mask: z + block.starting(z, mask), (z, mask)),
        (lambda z, mask: block.attend_ending_node(z, mask), (z, mask)),
        (lambda z: z + block.pair_transition(z), (z,)),
    )
    return dict(zip(LEAST, found, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seq-len", type=int, default=12000)
    length = parser.parse_args().seq_len
    block = meta_model(model_config("model_1_ptm"), torch.bfloat16).trunk.evoformer.blocks[0]
    assert isinstance(block, EvoformerBlock)
    pair = 2 * 128 * length**2
    print(f"pair tensors of {pair / 1e9:.1f} GB: without chunks, least there can be, by a plan, with the host's memory")
    for name, (update, inputs) in updates(block, length, 508).items():
        module = Update(block, update)
        runs = [Chunked(module, Planner.tightest, RATES, donated=lambda z, *_: [z], host=host) for host in (0.0, HOST)]
        alone, with_host = (run.planner(*inputs) for run in runs)
        figures = (alone.whole().peak, alone.least(), with_host.least())
        whole, *least = (f"{figure / pair:6.2f}" for figure in figures)
        print(f"{name:34} {whole} {LEAST[name]:>5}", *least)


if __name__ == "__main__":
    main()
