"""Small modules at which residues or sequences meet: Dynamic Axial Parallelism (DAP) hooks in here.

On one device each is the identity or a plain operation. `parallel.shard` replaces it by the module that stands beside
it in `parallel.dap.DAP_MODULES`, which communicates; nothing here knows of ranks. The pair bias and the triangle
products have no hook: DAP replaces the modules that compute them.
"""

from torch import nn

from foldcli import ops
from foldcli.model.features import TemplateFeatures
from foldcli.model.layers import dense
from foldcli.shapes import Float, Msa, Pair, PairMask, ResidueMask, Tensor


class LocalResidues(nn.Module):
    """Select the residues whose rows of pairs are computed here: on one device all, with DAP a rank's share."""

    def forward(self, x: Tensor, axis: int) -> Tensor:
        """x: any tensor with all residues along `axis`."""
        return x


def pair_mask(mask: ResidueMask, local_residues: LocalResidues) -> PairMask:
    """1 where both residues of a pair are present; rows are those of local residues."""
    return local_residues(mask, -1).unsqueeze(-1) * mask.unsqueeze(-2)


class AllResidues(nn.Module):
    """Concatenate what was computed for local residues along an axis: on one device the identity, with DAP a gather."""

    def forward(self, x: Tensor, axis: int) -> Tensor:
        return x


class LocalTemplates(nn.Module):
    """Select the templates that become rows of the MSA here: on one device all, with DAP a rank's share."""

    def forward(self, templates: TemplateFeatures) -> TemplateFeatures:
        return templates


class QueryRow(nn.Module):
    """The MSA's first row, the query: with DAP only the first rank has it, and every rank gets its residues."""

    def forward(self, m: Msa) -> Float[Tensor, "*b i c_m"]:
        return m[..., 0, :, :]


class PairTranspose(nn.Module):
    """Swap i and j, so that what works on rows works on columns: with DAP an all-to-all."""

    def forward(self, z: Pair) -> Pair:
        return z.transpose(-2, -3)


class OuterProduct(nn.Module):
    """Mean outer product of two projections of the MSA, projected to pairs: with DAP the right one travels a ring."""

    def __init__(self, c_outer: int, c_z: int) -> None:
        super().__init__()
        self.project = nn.Linear(c_outer * c_outer, c_z)

    def forward(
        self,
        left: Float[Tensor, "*b s i c"],
        right: Float[Tensor, "*b s j c"],
        left_mask: Float[Tensor, "*b s i"],
        right_mask: Float[Tensor, "*b s j"],
    ) -> Pair:
        count = left_mask.transpose(-1, -2) @ right_mask
        return ops.outer_product_mean(left, right, dense(self.project), count)
