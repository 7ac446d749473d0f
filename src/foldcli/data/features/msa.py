"""The MSA information of a sequence, and the rows sampled from it for one recycling pass (Suppl. Sec. 1.2.7)."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from foldcli.config import MsaConfig
from foldcli.data.features.msa_clusters import nearest_clusters
from foldcli.data.features.msa_sampling import (
    MsaDraws,
    choose_clusters,
    letter_frequencies,
    mask_letters,
    masked_positions,
)
from foldcli.data.features.profile import amino_acid_profile
from foldcli.data.query import Alignment
from foldcli.protein.residues import GAP, LETTERS


@dataclass(frozen=True)
class MsaInput:
    """An alignment, the sequence as its first row, and its profile [i, 22]: letter frequencies, X and gap included.

    profile_only: the other rows are known only through the profile, which then is the first row's cluster profile.
    """

    alignment: Alignment
    profile: NDArray[np.float32]
    profile_only: bool = False

    @classmethod
    def of_alignment(cls, alignment: Alignment) -> Self:
        return cls(alignment, letter_frequencies(alignment))

    @classmethod
    def of_sequence(cls, sequence: str) -> Self:
        """The sequence alone."""
        return cls.of_alignment(Alignment.of_sequence(sequence))

    @classmethod
    def of_profile(cls, sequence: str, profile: NDArray[np.float32]) -> Self:
        """The sequence and a profile of the 20 amino acids [i, 20]."""
        padded = np.pad(profile, ((0, 0), (0, GAP + 1 - len(LETTERS))))
        return cls(Alignment.of_sequence(sequence), padded, profile_only=True)


def choose_msa_input(
    sequence: str, alignment: Alignment | None, profile: NDArray[np.float32] | None, config: MsaConfig
) -> MsaInput:
    """Use the alignment if there is one, else the profile [i, 20], else the sequence alone.

    A model of one MSA row gets an alignment as its profile, since it is trained on chains that come with profiles only
    and has never seen gaps and deletions.
    """
    if alignment is not None and alignment.depth > 1 and config.max_clusters == 1:
        profile, alignment = amino_acid_profile(alignment), None
    if alignment is not None:
        return MsaInput.of_alignment(alignment)
    return MsaInput.of_sequence(sequence) if profile is None else MsaInput.of_profile(sequence, profile)


@dataclass(frozen=True)
class SampledMsa:
    """The rows of one recycling pass.

    clusters: cluster centres, masked; true_msa and bert_mask [s, i]: their letters before masking, and which positions
    were masked; others: all other rows; nearest [e]: the nearest cluster of each of them; extra: numbers of the rows
    that go to the extra MSA stack.
    """

    clusters: Alignment
    true_msa: NDArray[np.int8]
    bert_mask: NDArray[np.bool_]
    others: Alignment
    nearest: NDArray[np.int64]
    extra: NDArray[np.int64]

    def crop(self, window: slice) -> Self:
        """Cut columns; the assignment of rows to clusters stays that of the whole chain."""
        true_msa, bert_mask = self.true_msa[:, window], self.bert_mask[:, window]
        clusters, others = self.clusters.columns(window), self.others.columns(window)
        return type(self)(clusters, true_msa, bert_mask, others, self.nearest, self.extra)


def sample_msa(msa_input: MsaInput, config: MsaConfig, draws: MsaDraws) -> SampledMsa:
    """Choose cluster centres, mask some of their letters, and assign the other rows to clusters."""
    chosen, rest = choose_clusters(msa_input.alignment.depth, config, draws.clusters)
    centres, others = msa_input.alignment.rows(chosen), msa_input.alignment.rows(rest)
    bert_mask = masked_positions(centres.tokens.shape, config, draws.places)
    tokens = mask_letters(centres.tokens, msa_input.profile, bert_mask, config, draws.letters)
    return SampledMsa(
        clusters=Alignment(tokens, centres.deletions),
        true_msa=centres.tokens,
        bert_mask=bert_mask,
        others=others,
        nearest=nearest_clusters(tokens, others.tokens),
        extra=draws.extra.permutation(others.depth)[: config.max_extra],
    )
