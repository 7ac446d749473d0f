"""From composed settings, nested dictionaries, to frozen dataclasses whose types are checked."""

import dataclasses
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from foldcli.errors import InputError

T = TypeVar("T")
LARGEST = 2**32 - 1  # what every generator of random numbers takes as its seed


def build(cls: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """Fill dataclass `cls` from a mapping, and its fields that are dataclasses from the mappings inside it.

    InputError names a key that does not exist, or a value of another type than its field's. path: what the keys' names
    begin with in these errors.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise InputError(f"configuration: no key '{path}{key}'; there is {', '.join(sorted(known))}")
    return cls(**{key: _convert(hints[key], value, f"{path}{key}") for key, value in values.items()})


def _convert(hint: Any, value: Any, path: str) -> Any:
    """The value as a field of type `hint` holds it: lists as tuples, whole numbers as floats, paths as text."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and types.NoneType in options:
        return None
    kind = next(option for option in options if option is not types.NoneType)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return build(kind, value, f"{path}.")
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"configuration: '{path}' is {value!r}, expected a list")
        return tuple(_convert(typing.get_args(kind)[0], each, path) for each in value)
    if kind is str and isinstance(value, Path):
        return str(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"configuration: '{path}' is {value!r}, expected {kind.__name__}")
    return value


def require_choices(config: Any, choices: Mapping[str, tuple[str, ...]]) -> None:
    """InputError names the first key whose value is not one of its choices."""
    for key, allowed in choices.items():
        if getattr(config, key) not in allowed:
            raise InputError(f"configuration: '{key}' is {getattr(config, key)!r}, expected {' or '.join(allowed)}")


def require_smallest(config: Any, smallest: Mapping[str, int]) -> None:
    """InputError names the first key whose value is below the smallest allowed."""
    for key, least in smallest.items():
        if getattr(config, key) < least:
            raise InputError(f"configuration: '{key}' is {getattr(config, key)}, expected {least} or more")


def is_date(text: str) -> bool:
    """Whether a text is a day of the calendar, as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text).isoformat() == text  # other forms of ISO 8601 are read too
    except ValueError:
        return False


def require_amounts(config: Any, signed: Collection[str] = ()) -> None:
    """InputError names the first number, here or in a dataclass inside, that is negative, too large or no number.

    signed: keys that may be negative.
    """
    for key, value in _numbers(dataclasses.asdict(config), ""):
        if key not in signed and not value >= 0:  # NaN is neither
            raise InputError(f"configuration: '{key}' is {value}, expected a number of 0 or more")
        if isinstance(value, int) and value > LARGEST:
            raise InputError(f"configuration: '{key}' is {value}, expected at most {LARGEST}")


def _numbers(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{path}{key}.")
        elif isinstance(value, int | float):
            yield f"{path}{key}", value
