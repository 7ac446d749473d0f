"""The templates of a run's queries: found in the library of known folds, for the models whose presets ask for them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from foldcli.config import FoldConfig
from foldcli.data.query import Query
from foldcli.data.templates import lay_out
from foldcli.errors import InputError
from foldcli.model.features import Features
from foldcli.search.hits import Hit
from foldcli.search.library import Library, bundled
from foldcli.search.templates import find_hits
from foldcli.weights.files import sha256


def takes_templates(config: FoldConfig) -> bool:
    """Whether a model with these settings is shown templates."""
    return config.templates and config.model.library and config.model.template is not None


class Templates:
    """What a run's models are shown of known structures; nothing is read if none of them takes templates.

    InputError: a library that is none, or that is named for models that take no templates.
    """

    def __init__(self, configs: Sequence[FoldConfig]) -> None:
        self._library: Library | None = None
        if any(takes_templates(config) for config in configs):
            self._library = Library(Path(configs[0].library) if configs[0].library else bundled())
        elif configs[0].library:
            name = configs[0].model.name
            raise InputError(f"--library {configs[0].library}: {name} is shown no templates; leave the option out")

    @property
    def wanted(self) -> bool:
        """Whether any model takes templates."""
        return self._library is not None

    @cached_property
    def digest(self) -> str:
        """What tells this library from others, empty without one."""
        return sha256(self._library.path) if self._library else ""

    def find(self, query: Query) -> list[Hit]:
        """The known chains that a query is shown."""
        return find_hits(self._library.sequences, query) if self._library else []

    def shown(
        self, features: Iterator[Features], hits: Sequence[Hit], length: int, config: FoldConfig
    ) -> Iterator[Features]:
        """The features of each pass, with the structures of hits for a model that takes them."""
        if self._library is None or not hits or not takes_templates(config):
            return features
        templates = [self._library.template(hit, length) for hit in hits]
        laid_out = lay_out(templates, len(templates), slice(0, length))
        return (replace(one, templates=laid_out) for one in features)
