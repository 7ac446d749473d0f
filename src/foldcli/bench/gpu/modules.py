"""`foldcli bench` as a part of the report: each module of the model."""

from collections.abc import Iterator
from typing import Any

import torch

from foldcli.bench.cases import Cases, Sizes, module_names
from foldcli.bench.gpu.cases import precision
from foldcli.bench.gpu.checks import failure
from foldcli.bench.limits import limits_of
from foldcli.bench.modules.measure import ModuleBench
from foldcli.byte_units import GIB
from foldcli.compose import model_config

SECONDS = 60.0  # for all modules; of use on the CPU alone


def modules(device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield time, rate and peak memory of each module at 512 residues with 508 + 1,024 rows; the whole is in passes."""
    dry = device.type == "cpu"
    config, sizes = (
        (model_config("tiny"), Sizes(6, 3, 3)) if dry else (model_config("model_1_ptm"), Sizes(512, 508, 1024))
    )
    cases = Cases(config, sizes, device, precision(device))
    bench = ModuleBench(cases, limits_of(device, precision(device)), SECONDS, backward=False)
    names = [name for name in module_names(config) if name != "model"]
    for name in names[:2] if dry else names:
        row = {"what": name, "size": f"r={sizes.residues} s={sizes.depth}+{sizes.extra}"}
        try:
            yield row | _figures(bench, cases, name)
        except Exception as error:  # one failing module must not lose the others
            yield row | failure(error)


def _figures(bench: ModuleBench, cases: Cases, name: str) -> dict[str, Any]:
    measured = bench.figure(cases.case(name)).forward
    if measured.times is None or measured.peak is None:
        return {"ok": False, "failed": "not measured"}
    ms, spread = 1e3 * measured.times.median, 2 * measured.times.spread
    return {
        "ok": True,
        "ms": ms,
        "spread": spread,
        "tflops": measured.work.flops / ms / 1e9,
        "peak_gib": round(measured.peak / GIB, 3),
    }
