"""Launch parameters (tile sizes, num_warps, num_stages): tuned on this device, else shipped, else the kernel's own.

The tiles.py of each operation declares its kernels once, at import:

    declare("attention_forward_d32", {"block_m": 128, "block_n": 64, "num_warps": 4, "num_stages": 3},
            by_dtype={torch.float32: {...}}, candidates=[{...}, {...}])

and its launcher asks `launch_parameters("attention_forward_d32", q.dtype, size_class(n), q.device)`. `candidates` are
what tuning tries; each should be among the configurations compiled ahead of time (aot.py), so that none that spills is
ever chosen. What changes the shape of the work (head dim, width) belongs in this name. Tuned files are keyed by it, so
it stays as it is where a kernel's function gets another name.
"""

import contextlib
import functools
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

Parameters = dict[str, int]
# kernel -> dtype -> size class -> parameters
Table = dict[str, dict[str, dict[str, Parameters]]]

SHIPPED = Path(__file__).parent / "defaults"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Declared:
    """What tiles.py declares of one kernel: parameters that always work, and those worth trying."""

    default: Parameters
    by_dtype: Mapping[torch.dtype, Parameters] = field(default_factory=dict)
    candidates: tuple[Parameters, ...] = ()


declared: dict[str, Declared] = {}
_forced: dict[str, Parameters] = {}
_planned_for: tuple[str, tuple[int, int]] | None = None
_asked: set[tuple[str, torch.dtype, str]] | None = None


def declare(
    kernel: str,
    default: Parameters,
    by_dtype: Mapping[torch.dtype, Parameters] | None = None,
    candidates: Sequence[Parameters] = (),
) -> None:
    """Name a kernel with its default parameters, those of some dtypes, and those that tuning tries."""
    declared[kernel] = Declared(default, by_dtype or {}, tuple(candidates))


def size_class(length: int) -> str:
    """Name the power-of-two bucket of a length: 129 to 256 are "256"; all up to 16 are "16"."""
    return str(max(16, 1 << (length - 1).bit_length()))


def launch_parameters(kernel: str, dtype: torch.dtype, size: str, device: torch.device) -> Parameters:
    """Return the parameters to launch a declared kernel with: forced, tuned on this device, shipped, or its default.

    size: from `size_class`; where a table lacks that class, the nearest is taken. KeyError if it was not declared.
    """
    if _asked is not None:
        _asked.add((kernel, dtype, size))
    if kernel in _forced:
        return {**_default(kernel, dtype), **_forced[kernel]}
    return _resolve(kernel, dtype, size, device)


@contextlib.contextmanager
def forced(kernel: str, parameters: Parameters) -> Iterator[None]:
    """Launch one kernel with these parameters inside the block, for tuning and tests; not safe among threads."""
    before = _forced.get(kernel)
    _forced[kernel] = parameters
    try:
        yield
    finally:
        if before is None:
            del _forced[kernel]
        else:
            _forced[kernel] = before


@contextlib.contextmanager
def asked() -> Iterator[set[tuple[str, torch.dtype, str]]]:
    """Collect which kernels ask for parameters inside the block, with dtype and size class: what there is to tune."""
    global _asked
    before, _asked = _asked, set()
    try:
        yield _asked
    finally:
        _asked = before


def _default(kernel: str, dtype: torch.dtype) -> Parameters:
    return declared[kernel].by_dtype.get(dtype, declared[kernel].default)


def plan_for(name: str, capability: tuple[int, int]) -> None:
    """Launch on any device with the parameters of this GPU from now on, for what compiles for it without using it."""
    global _planned_for
    _planned_for = name, capability
    _resolve.cache_clear()


@functools.lru_cache(maxsize=4096)
def _resolve(kernel: str, dtype: torch.dtype, size: str, device: torch.device) -> Parameters:
    default = _default(kernel, dtype)
    if device.type != "cuda" and not _planned_for:
        return default
    name, capability = _planned_for or (torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device))
    tables = (_tuned().get(name, {}), shipped(_architecture(capability)))
    for table in tables:
        found = _nearest(table.get(kernel, {}).get(str(dtype).removeprefix("torch."), {}), size)
        # A file written by another version may name parameters that are gone, or lack new ones.
        if found is not None and found.keys() == default.keys():
            return found
    return default


def _nearest(classes: Mapping[str, Parameters], size: str) -> Parameters | None:
    wanted = int(size).bit_length()
    key = min(classes, key=lambda name: (abs(int(name).bit_length() - wanted), int(name)), default=None)
    return None if key is None else classes[key]


def _architecture(capability: tuple[int, int]) -> str:
    """Return the newest architecture with shipped parameters that is not newer than a device of this capability."""
    return "sm_90" if capability >= (9, 0) else "sm_80"


@functools.cache
def shipped(architecture: str) -> Table:
    """Return the parameters that ship for an architecture: kernel -> dtype -> size class -> parameters."""
    return _read(SHIPPED / f"{architecture}.json")


def cache_file() -> Path:
    """Return where tuned parameters are kept: launch/ in FOLDCLI_HOME, else in foldcli/ of the XDG cache folder."""
    if home := os.environ.get("FOLDCLI_HOME"):
        return Path(home).expanduser() / "launch" / "tuned.json"
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification has relative paths ignored.
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "foldcli" / "launch" / "tuned.json"


@functools.cache
def _tuned() -> dict[str, Table]:  # by the device's name
    return _read(cache_file())


def _read(path: Path) -> Any:
    """Read a table of parameters; a damaged file counts as empty, with a warning."""
    try:
        return _checked(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("%s: not usable as launch parameters (%s); kernels start with those they ship with", path, error)
        return {}


def _checked(table: Any) -> Any:
    """Return the table if it is nested dictionaries with integers under a size class; else raise ValueError."""
    if not isinstance(table, dict):
        raise ValueError("expected an object")
    for key, value in table.items():
        if isinstance(value, dict) and any(type(entry) is int for entry in value.values()):
            if not key.isdigit() or not all(type(entry) is int for entry in value.values()):
                raise ValueError(f"expected integers under a size class, found {key!r}: {value!r}")
        else:
            _checked(value)
    return table


def record(found: Table, device: torch.device) -> Path:
    """Add what tuning found on a device to the cache file, which is replaced atomically; return its path."""
    path = cache_file()
    tables = _read(path)
    _merge(tables.setdefault(torch.cuda.get_device_name(device), {}), found)
    write(path, tables)
    forget()
    return path


def ship(device: torch.device) -> Path:
    """Add what is tuned on a device to the parameters that ship for its architecture; return their path."""
    path = SHIPPED / f"{_architecture(torch.cuda.get_device_capability(device))}.json"
    table = _read(path)
    _merge(table, _tuned().get(torch.cuda.get_device_name(device), {}))
    write(path, table)
    forget()
    return path


def forget() -> None:
    """Have the files read again at the next launch."""
    _tuned.cache_clear()
    shipped.cache_clear()
    _resolve.cache_clear()


def _merge(into: Table, found: Table) -> None:
    for kernel, dtypes in found.items():
        for dtype, classes in dtypes.items():
            into.setdefault(kernel, {}).setdefault(dtype, {}).update(classes)


def write(path: Path, table: Mapping[str, Any]) -> None:
    """Write a table as JSON under a temporary name and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(table, file, indent=1, sort_keys=True)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
