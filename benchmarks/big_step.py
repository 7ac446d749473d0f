"""Training steps of the full model on this machine, on CUDA five after an untimed one: median time, memory, loss.

    python benchmarks/big_step.py [KEY=VALUE ...]

Runs recipe `big` unchanged (93 M parameters, crop 256, 124 + 1024 rows), batch size 1, without recycling and block
deletion, on a real chain of examples/training/few_validation.npz, concatenated with others up to the crop's length. MSA
rows are sampled from the chains' real profiles. In 24 GB,
precision=bf16 model.msa.max_extra=512 fits: 447 s and 19.6 GiB on two cores; with all 1024 rows it does not.
"""

import sys
from pathlib import Path

import torch

from foldcli.bench.training import long_sample, time_one_step
from foldcli.byte_units import GIB
from foldcli.compose import train_config
from foldcli.devices import choose_device
from foldcli.parallel.mesh import RankMesh
from foldcli.training.begin import new_model
from foldcli.training.flops import pass_flops, training_passes
from foldcli.training.learner import Learner

SHARD = Path(__file__).parents[1] / "examples" / "training" / "few_validation.npz"


def main() -> None:
    config = train_config(
        "big", ["batch_size=1", "sample.max_recycle=0", "sample.deleted_blocks=0", "steps=2", *sys.argv[1:]]
    )
    device = choose_device("auto")
    sample = long_sample(config, SHARD)
    features = sample.passes[-1]
    learner = Learner(new_model(config, device, RankMesh()), config, RankMesh())
    parameters = sum(p.numel() for p in learner.optimizer.parameters) / 1e6
    print(f"{parameters:.1f} M parameters in {learner.dtype}, MSA {tuple(features.msa_mask.shape)}, extra MSA "
          f"{tuple(features.extra_mask.shape)}, {torch.get_num_threads()} threads")  # fmt: skip
    step, seconds, peak = time_one_step(learner, sample)
    print(", ".join(f"{name} {value:.3f}" for name, value in step.terms.items()) + f", gradient norm {step.norm:.2f}")
    print(
        f"{seconds:.3g} s, peak on {device.type} {peak / GIB:.1f} GiB; "
        + str({name: float(f"{value:.3g}") for name, value in learner.timers.seconds.items()})
    )
    flops = pass_flops(config.model, features) * training_passes(sample)
    print(f"model FLOPs {flops / 1e12:.1f} T, {flops / seconds / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
