"""Masked MSA prediction (Suppl. Sec. 1.9.9)."""

from foldcli.data.training.sample import Labels
from foldcli.model.features import Features
from foldcli.shapes import Float, Tensor
from foldcli.training.losses.average import masked_mean
from foldcli.training.losses.cross_entropy import cross_entropy


def masked_msa(logits: Float[Tensor, "*b s i classes"], labels: Labels, features: Features) -> Float[Tensor, "*b"]:
    """Cross entropy of the masked letters of the MSA (Suppl. Sec. 1.9.9, Eq. 42)."""
    masked = labels.bert_mask * features.msa_mask * features.seq_mask.unsqueeze(-2)
    return masked_mean(cross_entropy(logits, labels.true_msa.long()), masked, 2)
