"""Features of the prediction to come, made while a GPU runs the last pass of the one before."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from foldcli.config import FoldConfig
from foldcli.data.features.model_input import features_of_passes
from foldcli.data.query import Query
from foldcli.model.features import Features


@dataclass(frozen=True)
class Wanted:
    """A prediction's features, of all its passes."""

    query: Query
    config: FoldConfig
    seed: int

    def make(self) -> Iterator[Features]:
        return features_of_passes(self.query, self.config, self.seed)

    def same_as(self, other: "Wanted") -> bool:
        """Whether both have the same features: those of one query, by itself and not by its contents."""
        return self.query is other.query and self._settings == other._settings

    @property
    def _settings(self) -> tuple[object, ...]:
        """All that decides the features of a query in a run."""
        model = self.config.model
        return self.seed, self.config.num_recycle, self.config.pair_mode, model.complexes, model.msa


class FeaturesAhead:
    """Holds the first pass's features of at most one prediction."""

    def __init__(self) -> None:
        self._made: tuple[Wanted, Iterator[Features]] | None = None

    def of(self, wanted: Wanted, then: Wanted | None) -> Iterator[Features]:
        """The features of each pass; whoever asks for more after the last has the first ones of `then` made."""
        made, self._made = self._made, None
        yield from made[1] if made and made[0].same_as(wanted) else wanted.make()
        if then:
            with contextlib.suppress(Exception):  # it is raised again where they are needed
                passes = then.make()
                self._made = then, itertools.chain([next(passes)], passes)
