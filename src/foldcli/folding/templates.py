"""Templates for the queries of a run: the user's own structures, or hits in the library of known structures."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from foldcli.config import FoldConfig
from foldcli.data.features.templates import stack_chain_templates, stack_templates, start_frames
from foldcli.data.query import EntityMsa, Query
from foldcli.errors import InputError
from foldcli.model.features import Features
from foldcli.protein.chain_names import chain_name
from foldcli.search.hit_list_templates import HitListTemplates
from foldcli.search.library import Library, bundled
from foldcli.search.own_templates import OwnTemplates
from foldcli.search.templates import MAX_TEMPLATES, FoundTemplates, TemplateSource


def takes_templates(config: FoldConfig) -> bool:
    """Whether a model with these settings is shown templates: the user's own, or the library's if it takes those."""
    own = bool(config.template or config.template_hits)
    return config.templates and config.model.template is not None and (config.model.library or own)


class Templates:
    """Finds templates for queries and lays them out as features; reads nothing if no model of the run takes them.

    InputError: files or a library that are none, or that are named for models that take no templates.
    """

    def __init__(self, configs: Sequence[FoldConfig]) -> None:
        config = configs[0]
        named = [option for option in ("template", "template_hits", "library") if getattr(config, option)]
        self.wanted = any(takes_templates(config) for config in configs)
        if named and not self.wanted:
            value = config.template[0] if named[0] == "template" else getattr(config, named[0])
            option = f"--{named[0].replace('_', '-')} {value}"
            raise InputError(f"{option}: {config.model.name} is shown no templates; leave the option out")
        self.origins = list(_origins(config)) if self.wanted else []

    def digest(self, query: Query) -> str:
        """Hash of all that decides a query's templates, for the job's key."""
        sums = "".join(origin.digest(chain) for chain in _different_chains(query) for origin in self.origins)
        return hashlib.sha256(sums.encode()).hexdigest()

    def find(self, query: Query) -> FoundTemplates:
        """The templates found for a query, at most MAX_TEMPLATES of each chain, and why others are not used."""
        found = {chain.sequence: self._find(chain) for chain in _different_chains(query)}
        if not query.chain_lengths:
            return found[query.sequence]
        shown = [one for each in found.values() for one in each.shown]
        unused = list(dict.fromkeys(reason for each in found.values() for reason in each.unused))
        return FoundTemplates(shown, unused, [found[chain].shown for chain in query.chains])

    def _find(self, chain: Query) -> FoundTemplates:
        found = [origin.find(chain) for origin in self.origins]
        shown = [one for each in found for one in each.shown]
        late = [f"{one.template.name}: {MAX_TEMPLATES} others come before it" for one in shown[MAX_TEMPLATES:]]
        return FoundTemplates(shown[:MAX_TEMPLATES], [*(reason for each in found for reason in each.unused), *late])

    def shown(self, features: Iterator[Features], found: FoundTemplates, config: FoldConfig) -> Iterator[Features]:
        """The features of each pass, with the templates that were found if the model takes any."""
        templates = [one.template for one in found.shown]
        if not templates or not takes_templates(config):
            return features
        if config.model.complexes:
            return _with_chain_templates(features, found)
        window = slice(0, len(templates[0].aatype))
        laid_out = stack_templates(templates, len(templates), window)
        start = start_frames(templates, window) if config.model.structure.start_at_template else None
        return (replace(one, templates=laid_out, start=start) for one in features)


def _different_chains(query: Query) -> list[Query]:
    """Each sequence of a complex as a record of its own, named after its first chain; a single chain as it is."""
    if not query.chain_lengths:
        return [query]
    chains, msas = query.chains, query.msas or (EntityMsa(),) * len(query.entities)
    names = [chain_name(chains.index(entity)) for entity in query.entities]
    return [
        Query(f"{query.name}_{name}", query.title, entity, f"chain {name} of {query.source}", msa.unpaired)
        for name, entity, msa in zip(names, query.entities, msas, strict=True)
    ]


def _with_chain_templates(features: Iterator[Features], found: FoundTemplates) -> Iterator[Features]:
    """Templates of single chains, laid out in the columns of each."""
    chains = [[one.template for one in of_chain] for of_chain in found.chains or [found.shown]]
    laid_out = None
    for one in features:
        if laid_out is None and one.chains is not None:
            lengths = one.chains.asym.unique(return_counts=True)[1].tolist()
            laid_out = stack_chain_templates(chains, lengths, MAX_TEMPLATES)
        yield replace(one, templates=laid_out)


def _origins(config: FoldConfig) -> Iterator[TemplateSource]:
    """The sources that the user names, files before hits; without any, the library of known structures."""
    latest = config.max_template_date
    if config.template:
        yield OwnTemplates([Path(name) for name in config.template], latest)
    if config.template_hits:
        yield HitListTemplates(Path(config.template_hits), Path(config.template_dir), latest)
    if not config.template and not config.template_hits:
        yield Library(Path(config.library) if config.library else bundled())
