"""The features that a model takes, whichever kind of model it is."""

from collections.abc import Iterator

from foldcli.config import FoldConfig
from foldcli.data.features.complexes import featurize_complex
from foldcli.data.features.featurize import featurize
from foldcli.data.query import Query
from foldcli.model.features import Features


def features_of_passes(query: Query, config: FoldConfig, seed: int) -> Iterator[Features]:
    """Make the features of each recycling pass lazily, without templates; the same seed gives the same features."""
    passes = config.num_recycle + 1
    if config.model.complexes:
        return featurize_complex(query, config.model.msa, seed, passes, config.pair_mode)
    return featurize(query, config.model.msa, seed, passes)
