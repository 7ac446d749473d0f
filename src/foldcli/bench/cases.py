"""The modules of a model, each with inputs of given sizes; a module is named as its attribute in the model is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from foldcli.config import ModelConfig
from foldcli.errors import InputError
from foldcli.model.alphafold import AlphaFold
from foldcli.model.evoformer import EvoformerBlock
from foldcli.model.features import Features, Recycled, TemplateFeatures
from foldcli.model.heads import Heads
from foldcli.shapes import Msa, Pair, Single, Tensor

MSA_UNITS = ("row", "column", "msa_transition", "outer_product_mean")
PAIR_UNITS = ("outgoing", "incoming", "starting", "ending", "pair_transition")
PAIR_WIDTHS = ("pair_heads", "c_triangle", "transition_factor")
TEMPLATES = 4


@dataclass(frozen=True)
class Sizes:
    """Residues, rows of the alignment and of the extra one."""

    residues: int
    depth: int
    extra: int


@dataclass(frozen=True)
class Case:
    """A module and its inputs, of which gradients reach the first `reads`."""

    name: str
    module: nn.Module
    inputs: tuple[Any, ...]
    reads: int


def names(config: ModelConfig) -> list[str]:
    """The modules of a model."""
    found = [f"evoformer.{unit}" for unit in (*MSA_UNITS, *PAIR_UNITS, "block")]
    if config.extra_msa.blocks:
        found += [f"extra_msa.{unit}" for unit in (*MSA_UNITS, *(PAIR_UNITS * (not pairs_alike(config))), "block")]
    return [*found, *["template_pairs"] * (config.template is not None), "structure", "heads", "model"]


def wanted(config: ModelConfig, asked: Sequence[str]) -> list[str]:
    """The modules that are named, by themselves or by what they are part of; InputError: no such name."""
    there = names(config)
    for name in asked:
        if not any(_named(name, other) for other in there):
            raise InputError(f"--modules {name}: no such module; there is all, {', '.join(there)}")
    return [name for name in there if not asked or any(_named(one, name) for one in asked)]


def _named(asked: str, name: str) -> bool:
    return name == asked or name.startswith(f"{asked}.")


def pairs_alike(config: ModelConfig) -> bool:
    """Whether both stacks update pairs by modules of the same widths, which are then measured once."""
    return all(getattr(config.evoformer, key) == getattr(config.extra_msa, key) for key in PAIR_WIDTHS)


def parts(config: ModelConfig, name: str) -> dict[str, int]:
    """The modules that a block, or the model, is made of, and how often each runs in it; none for the others."""
    if name == "model":
        return {other: count(config, other) for other in names(config) if not other.endswith(("block", "model"))}
    stack, _, unit = name.partition(".")
    if unit != "block":
        return {}
    pairs = "evoformer" if pairs_alike(config) else stack
    return {f"{stack}.{unit}": 1 for unit in MSA_UNITS} | {f"{pairs}.{unit}": 1 for unit in PAIR_UNITS}


def count(config: ModelConfig, name: str) -> int:
    """How often a module runs in a pass."""
    blocks = {"evoformer": config.evoformer.blocks, "extra_msa": config.extra_msa.blocks}
    stack, _, unit = name.partition(".")
    return sum(blocks.values()) if unit in PAIR_UNITS and pairs_alike(config) else blocks.get(stack, 1)


class ReadOut(nn.Module):
    """All heads at once."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, m: Msa, z: Pair, s: Single) -> tuple[Tensor, ...]:
        heads = self.heads
        logits = heads.distogram(z), heads.masked_msa(m), heads.resolved(s), heads.lddt(s)
        return logits if heads.pae is None else (*logits, heads.pae(z))


class Cases:
    """A model's modules, each with random inputs that are made when it is asked for."""

    def __init__(self, config: ModelConfig, sizes: Sizes, device: torch.device, dtype: torch.dtype) -> None:
        self.config, self.sizes, self.device, self.dtype = config, sizes, device, dtype
        torch.manual_seed(0)
        self.model = AlphaFold(config).eval().to(device)
        self.model.trunk.to(dtype)

    def case(self, name: str) -> Case:
        """A module and its inputs."""
        if name == "model":
            return Case(name, self.model, (self.features(), self._recycled()), reads=0)
        if name == "structure":
            mask = torch.ones(self.sizes.residues, device=self.device)
            return Case(name, self.model.structure, (self._single(), self._pairs(torch.float32), mask), reads=2)
        if name == "heads":
            m = self._rows(self.sizes.depth, self.config.evoformer.c_m, torch.float32)
            return Case(name, ReadOut(self.model.heads), (m, self._pairs(torch.float32), self._single()), reads=3)
        z = self._pairs(self.dtype)
        mask = torch.ones_like(z[..., 0])
        if name == "template_pairs":
            return Case(name, self.model.trunk.template_pairs, (z, self._templates(), mask), reads=1)  # type: ignore[arg-type]
        stack, _, unit = name.partition(".")
        return self._in_block(name, stack, unit, z, mask)

    def _in_block(self, name: str, stack: str, unit: str, z: Pair, mask: Tensor) -> Case:
        """A stack's block, or a unit of it."""
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

    def features(self) -> Features:
        """Made-up features of one pass."""
        i, s, e = self.sizes.residues, self.sizes.depth, self.sizes.extra
        return Features(
            self._whole(20, i), torch.arange(i, device=self.device), self._ones(i), self._real(i, 22),
            self._real(s, i, 49), self._ones(s, i), self._whole(22, e, i), self._ones(e, i), self._real(e, i),
            self._real(e, i), None if self.config.template is None else self._templates(),
        )  # fmt: skip

    def _templates(self) -> TemplateFeatures:
        t, i = TEMPLATES, self.sizes.residues
        return TemplateFeatures(
            self._ones(t), self._whole(20, t, i), 20 * self._real(t, i, 3), self._ones(t, i), self._ones(t, i),
            self._real(t, i, 7, 2), self._real(t, i, 7, 2), self._ones(t, i, 7),
        )  # fmt: skip

    def _recycled(self) -> Recycled:
        i, c_m = self.sizes.residues, self.config.evoformer.c_m
        return Recycled(self._real(i, c_m), self._pairs(torch.float32), 20 * self._real(i, 37, 3))

    def _pairs(self, dtype: torch.dtype) -> Pair:
        i = self.sizes.residues
        return self._real(i, i, self.config.c_z, dtype=dtype)

    def _single(self) -> Single:
        return self._real(self.sizes.residues, self.config.c_s)

    def _rows(self, rows: int, channels: int, dtype: torch.dtype) -> Msa:
        return self._real(rows, self.sizes.residues, channels, dtype=dtype)

    def _real(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, device=self.device, dtype=dtype)

    def _ones(self, *shape: int) -> Tensor:
        return torch.ones(shape, device=self.device)

    def _whole(self, below: int, *shape: int) -> Tensor:
        return torch.randint(below, shape, device=self.device)
