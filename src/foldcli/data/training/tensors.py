"""Walk the tensors of nested dataclasses and tuples."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")


def map_tensors(function: Callable[[Tensor], Tensor], value: T) -> T:
    """Apply a function to each tensor of a value; what is neither tensor, tuple nor dataclass stays."""
    return _mapped(function, value)


def _mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple):
        return tuple(_mapped(function, part) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: _mapped(function, getattr(value, f.name)) for f in fields(value)})
    return value


def named_tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor with its path, such as `passes.0.aatype`."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, tuple):
        for place, part in enumerate(value):
            yield from named_tensors(part, f"{name}.{place}".lstrip("."))
    elif is_dataclass(value):
        for field in fields(value):
            yield from named_tensors(getattr(value, field.name), f"{name}.{field.name}".lstrip("."))
