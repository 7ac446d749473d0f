"""Benchmark cases: each module of a model, by its attribute's name in the model, with random inputs of given sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from foldcli.config import ModelConfig
from foldcli.errors import InputError
from foldcli.model.alphafold import AlphaFold
from foldcli.model.evoformer import EvoformerBlock
from foldcli.model.features import ChainFeatures, Features, Recycled, TemplateFeatures
from foldcli.model.heads import Heads
from foldcli.shapes import Msa, Pair, Single, Tensor

MSA_UNITS = ("row", "column", "msa_transition", "outer_product_mean")
PAIR_UNITS = ("outgoing", "incoming", "starting", "ending", "pair_transition")
PAIR_WIDTHS = ("pair_heads", "c_triangle", "transition_factor")
TEMPLATES = 4


@dataclass(frozen=True)
class Sizes:
    """Number of residues, and of sequences in the MSA and in the extra MSA."""

    residues: int
    depth: int
    extra: int


@dataclass(frozen=True)
class Case:
    """A module and its inputs; gradients are taken of the first `differentiable` of these."""

    name: str
    module: nn.Module
    inputs: tuple[Any, ...]
    differentiable: int


def module_names(config: ModelConfig) -> list[str]:
    """Names of the modules of a model that are measured."""
    found = [f"evoformer.{unit}" for unit in (*MSA_UNITS, *PAIR_UNITS, "block")]
    if config.extra_msa.blocks:
        found += [f"extra_msa.{unit}" for unit in (*MSA_UNITS, *(PAIR_UNITS * (not same_pair_widths(config))), "block")]
    return [*found, *["template_pairs"] * (config.template is not None), "structure", "heads", "model"]


def select_modules(config: ModelConfig, asked: Sequence[str]) -> list[str]:
    """The modules with the names asked for, or inside a stack with such a name; InputError: an unknown name."""
    known = module_names(config)
    for name in asked:
        if not any(_named(name, other) for other in known):
            raise InputError(f"--modules {name}: no such module; there is all, {', '.join(known)}")
    return [name for name in known if not asked or any(_named(one, name) for one in asked)]


def _named(asked: str, name: str) -> bool:
    return name == asked or name.startswith(f"{asked}.")


def same_pair_widths(config: ModelConfig) -> bool:
    """Whether both stacks have pair modules of the same widths, which are then measured once."""
    return all(getattr(config.evoformer, key) == getattr(config.extra_msa, key) for key in PAIR_WIDTHS)


def submodules(config: ModelConfig, name: str) -> dict[str, int]:
    """How often each submodule runs in a block or in the model; empty for other modules."""
    if name == "model":
        return {
            other: calls_per_pass(config, other)
            for other in module_names(config)
            if not other.endswith(("block", "model"))
        }
    stack, _, unit = name.partition(".")
    if unit != "block":
        return {}
    pairs = "evoformer" if same_pair_widths(config) else stack
    return {f"{stack}.{unit}": 1 for unit in MSA_UNITS} | {f"{pairs}.{unit}": 1 for unit in PAIR_UNITS}


def calls_per_pass(config: ModelConfig, name: str) -> int:
    """How often a module runs in one pass of the model."""
    blocks = {"evoformer": config.evoformer.blocks, "extra_msa": config.extra_msa.blocks}
    stack, _, unit = name.partition(".")
    return sum(blocks.values()) if unit in PAIR_UNITS and same_pair_widths(config) else blocks.get(stack, 1)


class AllHeads(nn.Module):
    """The logits of all heads."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, m: Msa, z: Pair, s: Single) -> tuple[Tensor, ...]:
        heads = self.heads
        logits = heads.distogram(z), heads.masked_msa(m), heads.resolved(s), heads.lddt(s)
        return logits if heads.pae is None else (*logits, heads.pae(z))


class Cases:
    """The cases of a model in eval mode; random inputs are made on demand, so that only one case holds memory."""

    def __init__(self, config: ModelConfig, sizes: Sizes, device: torch.device, dtype: torch.dtype) -> None:
        self.config, self.sizes, self.device, self.dtype = config, sizes, device, dtype
        torch.manual_seed(0)
        self.model = AlphaFold(config).eval().to(device)
        self.model.trunk.to(dtype)

    def case(self, name: str) -> Case:
        """The case of a module by its name."""
        if name == "model":
            return Case(name, self.model, (self.features(), self.recycled()), 0)
        if name == "structure":
            mask = torch.ones(self.sizes.residues, device=self.device)
            return Case(name, self.model.structure, (self._single(), self._pairs(torch.float32), mask), 2)
        if name == "heads":
            m = self._rows(self.sizes.depth, self.config.evoformer.c_m, torch.float32)
            return Case(name, AllHeads(self.model.heads), (m, self._pairs(torch.float32), self._single()), 3)
        z = self._pairs(self.dtype)
        mask = torch.ones_like(z[..., 0])
        if name == "template_pairs":
            read = self.features(Sizes(self.sizes.residues, 1, 1))  # its rows are not read, nor are they to be counted
            return Case(name, self.model.trunk.template_pairs, (z, read, mask), 1)  # type: ignore[arg-type]
        stack, _, unit = name.partition(".")
        return self._in_block(name, stack, unit, z, mask)

    def _in_block(self, name: str, stack: str, unit: str, z: Pair, mask: Tensor) -> Case:
        """A block of a stack, or a submodule of it."""
        main = stack == "evoformer"
        config = self.config.evoformer if main else self.config.extra_msa
        block: EvoformerBlock = getattr(self.model.trunk, stack).blocks[0]
        module = block if unit == "block" else getattr(block, unit)
        if unit in ("outgoing", "incoming", "starting"):
            return Case(name, module, (z, mask), 1)
        if unit == "ending":
            return Case(name, module, (z.transpose(-2, -3), mask), 1)
        if unit == "pair_transition":
            return Case(name, module, (z,), 1)
        m = self._rows(self.sizes.depth if main else self.sizes.extra, config.c_m, self.dtype)
        rows = torch.ones_like(m[..., 0])
        inputs = {"block": (m, z, rows, mask), "row": (m, z, rows), "msa_transition": (m,)}
        return Case(name, module, inputs.get(unit, (m, rows)), 2 if unit in ("block", "row") else 1)

    def features(self, sizes: Sizes | None = None) -> Features:
        """Random features of one pass, of these sizes, else the cases' own."""
        sizes = sizes or self.sizes
        i, s, e = sizes.residues, sizes.depth, sizes.extra
        return Features(
            self._integers(20, i), torch.arange(i, device=self.device), self._ones(i),
            self._normal(i, self.config.c_target),
            self._normal(s, i, 49), self._ones(s, i), self._integers(22, e, i), self._ones(e, i), self._normal(e, i),
            self._normal(e, i), None if self.config.template is None else self._templates(),
            chains=self._chains() if self.config.complexes else None,
        )  # fmt: skip

    def _chains(self) -> ChainFeatures:
        """Two chains of one sequence."""
        half = self.sizes.residues // 2
        chain = 1 + (torch.arange(self.sizes.residues, device=self.device) >= half).long()
        return ChainFeatures(asym=chain, entity=torch.ones_like(chain), sym=chain)

    def _templates(self) -> TemplateFeatures:
        t, i = TEMPLATES, self.sizes.residues
        return TemplateFeatures(
            self._ones(t), self._integers(20, t, i), 20 * self._normal(t, i, 3), self._ones(t, i), self._ones(t, i),
            self._normal(t, i, 7, 2), self._normal(t, i, 7, 2), self._ones(t, i, 7), 20 * self._normal(t, i, 3, 3),
        )  # fmt: skip

    def recycled(self) -> Recycled:
        i, c_m = self.sizes.residues, self.config.evoformer.c_m
        return Recycled(self._normal(i, c_m), self._pairs(torch.float32), 20 * self._normal(i, 37, 3))

    def _pairs(self, dtype: torch.dtype) -> Pair:
        i = self.sizes.residues
        return self._normal(i, i, self.config.c_z, dtype=dtype)

    def _single(self) -> Single:
        return self._normal(self.sizes.residues, self.config.c_s)

    def _rows(self, rows: int, channels: int, dtype: torch.dtype) -> Msa:
        return self._normal(rows, self.sizes.residues, channels, dtype=dtype)

    def _normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, device=self.device, dtype=dtype)

    def _ones(self, *shape: int) -> Tensor:
        return torch.ones(shape, device=self.device)

    def _integers(self, below: int, *shape: int) -> Tensor:
        return torch.randint(below, shape, device=self.device)
