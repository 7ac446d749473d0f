"""Random initialisation of parameters (Suppl. Sec. 1.11.4)."""

import math
import re

import torch
from torch import nn

from foldcli.model.alphafold import AlphaFold
from foldcli.shapes import Tensor

# Standard deviation of a unit normal distribution that is truncated at -2 and 2.
TRUNCATED_STD = 0.87962566103423978
# The first pattern found in a parameter's name decides; residual updates start as zero, gates start open.
RULES = (
    (r"norm\w*\.scale$|center\.scale$", "one"),
    (r"gate_bias$|\.gate\.bias$", "one"),
    (r"\.operands\.(weight|bias)$", "gated halves"),
    (r"point_weight$", "kept"),
    (r"bias$|offset$", "zero"),
    (r"\.attention\.packed\.weight$", "packed attention"),
    (r"template_pairs\.(pairs|geometry|row_types|column_types|output)\.weight$", "relu"),
    (r"template_pairs\.attention\.(query|key|value)\.|\.column\.(query|key_value)\.", "glorot"),
    (r"\.(row|starting|ending)\.pair_weight\.", "normal"),
    (r"\.gate\.weight$|\.output\.weight$|\.contract\.weight$|outer\.project\.weight$", "zero"),
    (r"layer\.transition\.2\.|layer\.backbone\.|torsions\.outer\.", "zero"),
    (r"^heads\.(distogram|masked_msa|resolved|pae)\b|lddt\.logits", "zero"),
    (r"\.expand\.|layer\.transition\.[01]\.|torsions\.inner\.|lddt\.(first|second)\.|template_torsions\.", "relu"),
    (r"weight$", "linear"),
)


@torch.no_grad()
def initialize(model: AlphaFold, seed: int) -> None:
    """Initialise all parameters as AlphaFold does, reproducibly by seed (Suppl. Sec. 1.11.4)."""
    draws = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        rule = next(rule for pattern, rule in RULES if re.search(pattern, name))
        parameter.copy_(_draw(rule, parameter, draws))


def _draw(rule: str, like: Tensor, draws: torch.Generator) -> Tensor:
    new = torch.empty(like.shape)
    match rule:
        case "kept":
            return like
        case "one":
            return new.fill_(1)
        case "zero":
            return new.zero_()
        case "glorot":
            return nn.init.xavier_uniform_(new, generator=draws)
        case "normal":
            return new.normal_(0, 1 / math.sqrt(like.shape[-1]), generator=draws)
        case "packed attention":  # queries, keys, values, and the gate, whose weight starts as zero
            kinds = [_draw("glorot", part, draws) for part in new.chunk(4)[:3]]
            return torch.cat([*kinds, torch.zeros_like(new.chunk(4)[3])])
        case "gated halves":  # left and right values, then their gates
            values, gates = new.chunk(2)
            if like.dim() == 1:
                return torch.cat([values.zero_(), gates.fill_(1)])
            return torch.cat([_draw("linear", values, draws), gates.zero_()])
    width = math.sqrt((2 if rule == "relu" else 1) / like.shape[-1]) / TRUNCATED_STD
    return nn.init.trunc_normal_(new, 0, width, -2 * width, 2 * width, generator=draws)
