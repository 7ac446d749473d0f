"""Shell completion of option values. It runs at every press of Tab: nothing heavy is imported."""

from collections.abc import Callable, Iterable

Completer = Callable[[str], list[str]]


def completer(names: Callable[[], Iterable[str]]) -> Completer:
    """A completion that offers the names that begin with what was typed."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


@completer
def presets() -> Iterable[str]:
    from foldcli.compose import presets

    return presets()


@completer
def fold_models() -> Iterable[str]:
    from foldcli.compose import presets
    from foldcli.weights.default import NAME

    return [NAME, *presets()]


@completer
def published_presets() -> Iterable[str]:
    from foldcli.weights.cache import PRESETS

    return PRESETS


@completer
def recipes() -> Iterable[str]:
    from foldcli.compose import recipes

    return recipes()


def choices(key: str) -> Completer:
    """Offer the allowed values of a setting of `foldcli fold`."""

    def names() -> Iterable[str]:
        from foldcli.config.fold import FoldConfig

        return FoldConfig.CHOICES[key]

    return completer(names)
