"""What is known of a sequence's relatives, and the rows of it that one pass sees (Suppl. Sec. 1.2.7)."""

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
from foldcli.data.features.profile import frequencies
from foldcli.data.query import Alignment
from foldcli.protein.residues import GAP, INDEX, LETTERS


def single_sequence(sequence: str) -> Alignment:
    """The alignment of a sequence with nothing but itself."""
    tokens = np.array([[INDEX[letter] for letter in sequence]], np.int8)
    return Alignment(tokens, np.zeros(tokens.shape, np.int32))


@dataclass(frozen=True)
class MsaInput:
    """An alignment, the sequence itself its first row, and how often each letter stands in its columns [i, 22].

    profile_only: the columns are all that is left of other rows, so they summarise the first row's cluster.
    """

    alignment: Alignment
    columns: NDArray[np.float32]
    profile_only: bool = False

    @classmethod
    def of_alignment(cls, alignment: Alignment) -> Self:
        return cls(alignment, letter_frequencies(alignment))

    @classmethod
    def of_sequence(cls, sequence: str) -> Self:
        """The sequence with nothing but itself."""
        return cls.of_alignment(single_sequence(sequence))

    @classmethod
    def of_profile(cls, sequence: str, profile: NDArray[np.float32]) -> Self:
        """The sequence and how often each of the 20 amino acids stands in each column [i, 20]."""
        columns = np.pad(profile, ((0, 0), (0, GAP + 1 - len(LETTERS))))
        return cls(single_sequence(sequence), columns, profile_only=True)


def choose_msa_input(
    sequence: str, alignment: Alignment | None, profile: NDArray[np.float32] | None, config: MsaConfig
) -> MsaInput:
    """All that is known of a sequence's relatives: an alignment before a profile [i, 20], and nothing without either.

    A model of one row is shown an alignment through its frequencies, as it is trained on chains that come with these
    alone: gaps and deletions would be new to it.
    """
    if alignment is not None and alignment.depth > 1 and config.max_clusters == 1:
        profile, alignment = frequencies(alignment), None
    if alignment is not None:
        return MsaInput.of_alignment(alignment)
    return MsaInput.of_sequence(sequence) if profile is None else MsaInput.of_profile(sequence, profile)


@dataclass(frozen=True)
class SampledMsa:
    """The rows of one pass.

    clusters: centres, some letters hidden; letters and hidden [s, i]: what stood there before, and where letters were
    hidden; others: all other rows, each with its nearest cluster [e]; extra: the numbers of those the extra stack sees.
    """

    clusters: Alignment
    true_msa: NDArray[np.int8]
    bert_mask: NDArray[np.bool_]
    others: Alignment
    nearest: NDArray[np.int64]
    extra: NDArray[np.int64]

    def crop(self, window: slice) -> Self:
        """Some of the columns; clusters stay what they are on all of them."""
        true_msa, bert_mask = self.true_msa[:, window], self.bert_mask[:, window]
        clusters, others = self.clusters.columns(window), self.others.columns(window)
        return type(self)(clusters, true_msa, bert_mask, others, self.nearest, self.extra)


def sample_msa(msa_input: MsaInput, config: MsaConfig, draws: MsaDraws) -> SampledMsa:
    """Choose cluster centres, hide letters of theirs, and give each other row to a cluster."""
    chosen, rest = choose_clusters(msa_input.alignment.depth, config, draws.clusters)
    centres, others = msa_input.alignment.rows(chosen), msa_input.alignment.rows(rest)
    bert_mask = masked_positions(centres.tokens.shape, config, draws.places)
    tokens = mask_letters(centres.tokens, msa_input.columns, bert_mask, config, draws.letters)
    return SampledMsa(
        clusters=Alignment(tokens, centres.deletions),
        true_msa=centres.tokens,
        bert_mask=bert_mask,
        others=others,
        nearest=nearest_clusters(tokens, others.tokens),
        extra=draws.extra.permutation(others.depth)[: config.max_extra],
    )
