"""FLOPs, operators and bytes of each module, the same on every machine: to notice a change that adds work."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from rich.table import Table

from foldcli.bench.cases import Cases, Sizes, module_names
from foldcli.bench.request import DTYPES
from foldcli.bench.work import work_of
from foldcli.compose import model_config
from foldcli.errors import InputError

MODEL, SIZES = "model_1_ptm", Sizes(residues=256, depth=128, extra=256)
ONE_BLOCK = ["model.evoformer.blocks=1", "model.extra_msa.blocks=1", "model.template.blocks=1"]
# Another version of torch may use a few operators more.
TOLERANCE = 0.02
Counts = Mapping[str, Mapping[str, int]]


def counted() -> Counts:
    """The counts of `Work` for every module and precision, under keys such as `evoformer.row fp32`."""
    config = model_config(MODEL, ONE_BLOCK)
    found: dict[str, dict[str, int]] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # each thread adds to the workspace of attention
    try:
        for name, dtype in DTYPES.items():
            cases = Cases(config, SIZES, torch.device("meta"), dtype)
            found |= {f"{module} {name}": asdict(work_of(cases.case(module))) for module in module_names(config)}
    finally:
        torch.set_num_threads(threads)
    return found


def risen(before: Counts, now: Counts) -> Iterator[tuple[str, str, int, int]]:
    """Counts that have risen by more than 2 %: module, count, value before and value now."""
    for module, counts in now.items():
        for key, value in counts.items() if module in before else ():
            if value > (1 + TOLERANCE) * before[module][key]:
                yield module, key, before[module][key], value


def load(path: Path) -> Counts:
    """Read counts that `foldcli bench counts --json` wrote; InputError: any other file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {module: {key: int(count) for key, count in counts.items()} for module, counts in found.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not what `foldcli bench counts --json` writes"
        raise InputError(f"--compare {path}: {reason}; name a file of counts") from error


def table(counts: Counts) -> Table:
    """Counts as a table, with compulsory traffic beside the traffic of all operators."""
    title = f"{MODEL}, one block of each stack, {SIZES.residues} residues, {SIZES.depth} + {SIZES.extra} rows, CPU"
    grid = Table("module", "GFLOP", "operators", "MB moved", "MB compulsory", "ratio", "MB peak", title=title)
    for column in grid.columns[1:]:
        column.justify = "right"
    for module, count in counts.items():
        traffic, compulsory = count["traffic"], count["moved"]
        megabytes = (f"{value / 1e6:,.1f}" for value in (traffic, compulsory))
        rest = f"{traffic / compulsory:.1f}", f"{count['peak'] / 1e6:,.1f}"
        grid.add_row(module, f"{count['flops'] / 1e9:,.1f}", str(count["calls"]), *megabytes, *rest)
    return grid
