"""The whole model beside DeepMind's in JAX: the same parameters, rebuilt from their names, and the same features."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from foldcli.bench.peers.alphafold_arrays import differences, features_of, same, seeded_model
from foldcli.bench.peers.comparison import Comparison
from foldcli.bench.peers.jax_environment import served
from foldcli.bench.request import DTYPES, Request
from foldcli.bench.timing import in_turns, seconds
from foldcli.config import ModelConfig
from foldcli.errors import InputError

# At full depth, untrained parameters of full size amplify rounding beyond any comparison.
SCALE, SEED = 0.5, 0
CPU = torch.device("cpu")


def against_alphafold(request: Request, rounds: int) -> Iterator[Comparison]:
    """Time one pass on the CPU, in each precision that is asked for (`auto`: both).

    Structures must agree with DeepMind's in float32; in bfloat16 only logits are compared, to 10 %.
    """
    types = DTYPES if request.dtype == "auto" else {request.dtype: DTYPES[request.dtype]}
    config = request.config()
    if config.complexes:
        raise InputError(f"--peers jax: compares models of single chains; take another than {config.name}")
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), options_of(request, config)) as jax_once,
        torch.inference_mode(),
    ):
        arrays, outputs = (dict(np.load(Path(folder, name))) for name in ("features.npz", "outputs.npz"))
        features = features_of({key: value[0] for key, value in arrays.items()})
        models = {name: seeded_model(config, SCALE, SEED) for name in types}
        found = {}
        for name, model in models.items():
            model.trunk.to(types[name])
            found[name] = differences(model(features), outputs, config)
        ours = [partial(seconds, partial(model, features), CPU) for model in models.values()]
        jax, *times = in_turns([jax_once, *ours], rounds)
    for name, our_times in zip(models, times, strict=True):
        difference = max(value for key, value in found[name].items() if key.endswith("logits"))
        one = Comparison("model, one pass", f"foldcli {name}", "AlphaFold in JAX, fp32", difference)
        agree = same(found[name]) if name == "fp32" else difference < 0.1
        yield Comparison(one.work, one.ours, one.peer, difference, our_times, jax) if agree else one


def options_of(request: Request, config: ModelConfig) -> list[str]:
    """Options of run_alphafold.py for the same model and sizes."""
    values = {
        "preset": request.model, "blocks": config.evoformer.blocks, "extra-blocks": config.extra_msa.blocks,
        "residues": request.lengths[0], "msa": request.depth, "extra-msa": request.extra,
        "depth": request.depth + request.extra + 16, "recycles": 0, "scale": SCALE, "seed": SEED,
        "templates": 4 if config.template else 0,
    }  # fmt: skip
    return [part for key, value in values.items() for part in (f"--{key}", str(value))]
