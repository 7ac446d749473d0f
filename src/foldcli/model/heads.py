"""Output heads besides the structure: distances, masked MSA, confidence (Suppl. Sec. 1.9)."""

from torch import nn

from foldcli.config import HeadsConfig
from foldcli.model.dap_hooks import PairTranspose
from foldcli.model.layers import LayerNorm
from foldcli.protein.residues import ATOM37
from foldcli.shapes import Float, Pair, Single, Tensor


class DistogramHead(nn.Module):
    """Logits of binned pseudo-beta distances, symmetric in i and j (Suppl. Sec. 1.9.8)."""

    def __init__(self, c_z: int, config: HeadsConfig) -> None:
        super().__init__()
        self.transpose = PairTranspose()
        self.half_logits = nn.Linear(c_z, config.distogram_bins)

    def forward(self, z: Pair) -> Float[Tensor, "*b i j bins"]:
        half = self.half_logits(z)
        return half + self.transpose(half)


class LddtHead(nn.Module):
    """Logits of each residue's binned lDDT-CA (Suppl. Alg. 29)."""

    def __init__(self, c_s: int, config: HeadsConfig) -> None:
        super().__init__()
        self.norm = LayerNorm(c_s)
        self.first = nn.Linear(c_s, config.c_plddt)
        self.second = nn.Linear(config.c_plddt, config.c_plddt)
        self.logits = nn.Linear(config.c_plddt, config.plddt_bins)

    def forward(self, s: Single) -> Float[Tensor, "*b i bins"]:
        return self.logits(self.second(self.first(self.norm(s)).relu()).relu())


class Heads(nn.Module):
    """All heads, in float32: most are one linear layer."""

    def __init__(self, config: HeadsConfig, c_m: int, c_z: int, c_s: int) -> None:
        super().__init__()
        self.distogram = DistogramHead(c_z, config)
        self.masked_msa = nn.Linear(c_m, config.msa_classes)
        self.resolved = nn.Linear(c_s, len(ATOM37))
        self.lddt = LddtHead(c_s, config)
        self.pae = nn.Linear(c_z, config.pae_bins) if config.pae else None
