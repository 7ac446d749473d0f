"""The whole model against DeepMind's in JAX: the same parameters, rebuilt from their names, and the same features."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from foldcli.bench.clock import in_turns, seconds
from foldcli.bench.modules import DTYPES, Request
from foldcli.bench.peers.alphafold_run import ReferenceRun, differences, same
from foldcli.bench.peers.compare import Comparison
from foldcli.bench.peers.environment import served
from foldcli.config import ModelConfig

# Untrained parameters at full size would make rounding grow beyond any comparison at full depth.
SCALE = "0.5"
CPU = torch.device("cpu")


def against_alphafold(request: Request, rounds: int) -> Iterator[Comparison]:
    """One pass on the CPU in each type that is asked for, `auto` for both; structures must agree in float32."""
    types = DTYPES if request.dtype == "auto" else {request.dtype: DTYPES[request.dtype]}
    options = options_of(request, request.config())
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), options) as jax_once, torch.inference_mode():
        run = ReferenceRun(Path(folder))
        features = run.passes()[0]
        models = {name: run.model() for name in types}
        found = {}
        for name, model in models.items():
            model.trunk.to(types[name])
            found[name] = differences(model(features), run.outputs(), run.config())
        ours = [partial(seconds, partial(model, features), CPU) for model in models.values()]
        jax, *times = in_turns([jax_once, *ours], rounds)
    for name, our_times in zip(models, times, strict=True):
        difference = max(value for key, value in found[name].items() if key.endswith("logits"))
        one = Comparison("model, one pass", f"foldcli {name}", "AlphaFold in JAX, fp32", difference)
        agree = same(found[name]) if name == "fp32" else difference < 0.1
        yield Comparison(one.work, one.ours, one.peer, difference, our_times, jax) if agree else one


def options_of(request: Request, config: ModelConfig) -> list[str]:
    """The reference script's, for the same model and sizes."""
    values = {
        "preset": request.model, "blocks": config.evoformer.blocks, "extra-blocks": config.extra_msa.blocks,
        "residues": request.lengths[0], "msa": request.depth, "extra-msa": request.extra,
        "depth": request.depth + request.extra + 16, "recycles": 0, "scale": SCALE,
        "templates": 4 if config.template else 0,
    }  # fmt: skip
    return [part for key, value in values.items() for part in (f"--{key}", str(value))]
