"""Features of a complex for AlphaFold-Multimer, which draws its rows anew in each pass (Evans et al. 2021)."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from foldcli.config import MsaConfig
from foldcli.data.features.featurize import features_of_rows
from foldcli.data.features.merge import merged_alignment
from foldcli.data.features.msa_clusters import summarize_shared_clusters
from foldcli.data.features.msa_sampling import letter_chances, letter_frequencies
from foldcli.data.features.threefry import Words, fold_in, key_of_seed, split, uniform
from foldcli.data.query import Query
from foldcli.model.features import ChainFeatures, Features
from foldcli.protein.residues import MASK, UNKNOWN

# Added to numbers before each logarithm, as in AlphaFold-Multimer.
EPSILON = np.float32(1e-6)
LETTERS_AT_ONCE = 1 << 16  # masked letters that are drawn at a time, which bounds the memory


def featurize_complex(query: Query, config: MsaConfig, seed: int, passes: int, pair_mode: str) -> Iterator[Features]:
    """Make the features of each recycling pass lazily, with the draws of AlphaFold-Multimer's model for the same seed.

    Chains stay in the order of the query, while AlphaFold moves copies of a sequence together. Rows are not padded, as
    in `featurize`. A single chain is a complex of one.
    """
    alignment = merged_alignment(query, pair_mode)
    profile, chains = letter_frequencies(alignment), chain_features(query)
    residue_index = torch.cat([torch.arange(len(chain)) for chain in query.chains])
    key = key_of_seed(seed)
    for _ in range(passes):
        key, of_pass = split(key)
        order, places, letters = _keys_of_pass(of_pass)
        chosen = _drawn_order(alignment.depth, order)
        centres, others = (alignment.rows(rows) for rows in np.split(chosen, [config.max_clusters]))
        clusters = replace(centres, tokens=_masked(centres.tokens, profile, places, letters, config))
        extra = others.rows(np.arange(min(config.max_extra, others.depth)))
        features = features_of_rows(query.sequence, clusters, *summarize_shared_clusters(clusters, others), extra)
        target_feat = torch.eye(UNKNOWN + 1)[features.aatype]
        yield replace(features, target_feat=target_feat, residue_index=residue_index, chains=chains)


def chain_features(query: Query) -> ChainFeatures:
    """Number the chains, their sequences, and the copies of each sequence, from 1."""
    chains, entities = query.chains, query.entities
    lengths = torch.tensor([len(chain) for chain in chains])
    asym = torch.arange(1, len(chains) + 1)
    entity = torch.tensor([1 + entities.index(chain) for chain in chains])
    sym = torch.tensor([chains[: k + 1].count(chain) for k, chain in enumerate(chains)])
    return ChainFeatures(*(number.repeat_interleave(lengths) for number in (asym, entity, sym)))


def _keys_of_pass(of_pass: Words) -> tuple[Words, Words, Words]:
    """The keys of the order of rows, of masked places and of letters put there, as the model's modules split them."""
    of_model = split(of_pass)[1]  # Haiku's hk.next_rng_key
    of_ensemble = split(of_model)[1]
    _, order, mask = split(of_ensemble, 3)
    _, places, letters = split(mask, 3)
    return order, places, letters


def _drawn_order(depth: int, key: Words) -> NDArray[np.int64]:
    """The rows in random order, the query first: by falling numbers, of which those of AlphaFold are a function."""
    numbers = uniform(fold_in(key, np.arange(depth)))
    return np.append(0, 1 + np.argsort(numbers[1:], kind="stable")[::-1])


def _masked(
    tokens: NDArray[np.int8], profile: NDArray[np.float32], place_key: Words, letter_key: Words, config: MsaConfig
) -> NDArray[np.int8]:
    """Mask letters [s, i] as BERT does; what each becomes has the largest of its chances with Gumbel noise."""
    depth, length = tokens.shape
    keys = fold_in(fold_in(place_key, np.arange(depth))[:, None], np.arange(length))
    rows, places = np.nonzero(uniform(keys) < np.float32(config.mask_fraction))
    replaced = tokens.copy()
    for start in range(0, len(rows), LETTERS_AT_ONCE):
        row, place = rows[start : start + LETTERS_AT_ONCE], places[start : start + LETTERS_AT_ONCE]
        chances = letter_chances(tokens[row, place], profile[place], config)
        keys = fold_in(fold_in(letter_key, row), place)
        noise = uniform(fold_in(keys[:, None], np.arange(MASK + 1)))
        gumbel = -np.log(-np.log(noise + EPSILON) + EPSILON)
        replaced[row, place] = (np.log(chances + EPSILON) + gumbel).argmax(axis=1)
    return replaced
