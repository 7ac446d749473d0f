"""Measure the accuracy of the package's model: MODEL_CARD.md's table, and the figures that every fold prints.

    python benchmarks/default_model.py                          # the shipped weights on the 40 chains carried here
    python benchmarks/default_model.py --chains chains_val.npz --clusters chains_train.npz chains_train_more.npz

Each chain is folded as by `foldcli fold`: from its sequence, or from its alignment's profile, each with and without the
templates that a search of the library finds. `--clusters` adds one chain of each held-out cluster (`held_out.py`),
folded with a library that holds the cluster's other members; `--long` adds 40 chains of 513 to 534 residues
(`long_chains.py`), which take 80 minutes of one core. Baselines are the untrained network, ideal secondary
structure from the true states, and a plain copy of the best hit's CA atoms. `--plot` plots predicted against true lDDT.
`--ship` writes the weights and the figures that a fold prints into the package.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median

import matplotlib.pyplot as plt
import numpy as np
import torch
from library import NEAR, chains_of, copied_lddt, held_out
from secondary_structure import ideal_trace

from foldcli.compose import fold_config, train_config
from foldcli.config import ModelConfig, TrainConfig
from foldcli.config.build import build
from foldcli.data.chain import Chain, Template
from foldcli.data.query import Query
from foldcli.data.training.make_sample import whole_sample
from foldcli.data.training.shards import Shard
from foldcli.files import write_atomic
from foldcli.folding.models import describe_model, load_model, resolve
from foldcli.folding.predict import predict
from foldcli.geometry.lddt import lddt_per_residue
from foldcli.model.alphafold import AlphaFold
from foldcli.protein.residues import CA, residue_types
from foldcli.search.library import Library, bundled
from foldcli.search.templates import FoundTemplate
from foldcli.training.folder import export
from foldcli.training.initialize import initialize
from foldcli.training.metrics import agreement, backbone_quality
from foldcli.weights.default import FIGURES, NAME, default_parameters
from foldcli.weights.files import read_metadata, read_safetensors

CARRIED, LONG = (Path(__file__).with_name(name) for name in ("held_out_chains.npz", "long_chains.npz"))
# The keys that `weights.default` reads; the templates of "known folds" are structures of the library.
KINDS = ("sequence", "profile", "sequence + known folds", "profile + known folds")
LENGTHS = ((0, 100), (100, 180), (180, 10_000))
# Least share of a chain's residues in helices, or strands, and the most in the other, of chains that are mostly one.
CLASSES = {"mostly alpha": ("HGI", 0.4, "EB", 0.1), "mostly beta": ("EB", 0.3, "HGI", 0.1)}


@dataclass(frozen=True)
class Score:
    """One chain folded from one kind of input; lDDT-CA, TM-score and predicted lDDT are in 0..1.

    identity: of the best template, 0 without any; c_n: mean peptide bond length in angstrom; twist: mean deviation of
    omega from planarity in degrees; clashes: fraction of residues; sure: correlation of predicted and true lDDT;
    mostly: the class of the true secondary structure.
    """

    name: str
    kind: str
    length: int
    lddt: float
    tm_score: float
    predicted: float
    identity: float = 0.0
    c_n: float = 0.0
    twist: float = 0.0
    clashes: float = 0.0
    sure: float = 0.0
    mostly: str = "mixed"


def kinds_of(chain: Chain, shown: Sequence[FoundTemplate]) -> dict[str, Chain]:
    """The chain with each kind of input; shown: the templates found for it."""
    alone, templates = replace(chain, profile=None), [one.template for one in shown]
    kinds = alone, chain, replace(alone, templates=templates), replace(chain, templates=templates)
    return dict(zip(KINDS, kinds if shown else kinds[:2], strict=False))


@torch.inference_mode()
def folded(model: AlphaFold, chain: Chain, kind: str, config: TrainConfig, identity: float = 0.0) -> Score:
    """Fold a chain and compare it with its experimental structure."""
    sample, query = whole_sample(chain, config, alone=False), Query(chain.name, "", chain.sequence, chain.name)
    settings = replace(fold_config("mini"), model=model.config)
    found = predict(model, query, sample.passes, settings, torch.float32, 0, lambda *told: None)
    atoms, true = torch.from_numpy(found.structure.positions), sample.labels.positions[:, CA]
    known, expected = sample.labels.mask[:, CA], torch.from_numpy(found.plddt) / 100
    reached = agreement(atoms[:, CA], true, known)
    each = lddt_per_residue(atoms[:, CA], true, known)
    quality = backbone_quality(atoms, torch.arange(len(atoms)))
    return Score(
        chain.name, kind, len(atoms), reached.lddt, reached.tm_score, float(expected.mean()), identity,
        quality.c_n, quality.twist, quality.clashes, float(torch.corrcoef(torch.stack([expected, each]))[0, 1]),
    )  # fmt: skip


def ideal(chain: Chain, dssp: str) -> Score:
    """Score ideal helices and strands built from the true secondary structure."""
    true, known = torch.from_numpy(chain.positions[:, CA]), torch.from_numpy(chain.mask[:, CA]).float()
    reached = agreement(torch.from_numpy(ideal_trace(dssp)), true, known)
    return Score(chain.name, "true secondary structure, ideal", len(dssp), reached.lddt, reached.tm_score, 0.0)


def with_templates(model: AlphaFold, chain: Chain, library: Library, config: TrainConfig) -> Iterator[Score]:
    """Score a chain with every kind of input, and the plain copy of the best hit."""
    shown = library.find(Query(chain.name, "", chain.sequence, chain.name)).shown
    identity = shown[0].hit.identity if shown else 0.0
    for kind, one in kinds_of(chain, shown).items():
        yield folded(model, one, kind, config, identity if one.templates else 0.0)
    if shown:
        score = copied_lddt(chain, shown[0].template)
        yield Score(chain.name, "copy of the best hit", len(chain.sequence), score, 0.0, 0.0, identity)


def near_identical(model: AlphaFold, chain: Chain, config: TrainConfig) -> Iterator[Score]:
    """Score a chain with a stand-in for a near-identical relative, and that template's plain copy.

    It is the chain's own structure with each residue moved by 0.5 angstrom on each axis (root mean square), and 5 % of
    the residue types drawn anew: no held-out chain has such a relative among the chains at hand.
    """
    random, length = np.random.default_rng(0), len(chain.sequence)
    types = np.asarray(residue_types(chain.sequence), np.int8)
    other = random.random(length) < 0.05
    types[other] = random.integers(0, 20, other.sum())
    moved = chain.positions + random.normal(scale=0.5, size=(length, 1, 3)).astype(np.float32)
    template = Template("near-identical", types, moved * chain.mask[..., None], chain.mask)
    yield folded(model, replace(chain, profile=None, templates=[template]), "near-identical relative", config, 0.95)
    yield Score(chain.name, "its copy", length, copied_lddt(chain, template), 0.0, 0.0, 0.95)


def class_of(dssp: str) -> str:
    """Which of CLASSES a chain is, by its DSSP states, or mixed."""
    for name, (states, least, others, most) in CLASSES.items():
        share, rest = (sum(state in some for state in dssp) / len(dssp) for some in (states, others))
        if share >= least and rest < most:
            return name
    return "mixed"


def dssp_of(path: Path) -> dict[str, str]:
    """The DSSP states of each chain of a shard."""
    arrays = Shard(path).arrays
    ends = np.cumsum(arrays["lengths"])
    states = arrays["dssp"].tobytes().decode("ascii")
    return {str(n): states[e - k : e] for n, e, k in zip(arrays["names"], ends, arrays["lengths"], strict=True)}


def validation(model: AlphaFold, path: Path, config: TrainConfig) -> list[Score]:
    """Score every chain of a shard with every kind of input, and the baselines."""
    library, states, untrained = Library(bundled()), dssp_of(path), AlphaFold(config.model).eval()
    initialize(untrained, 0)
    scores = list[Score]()
    for chain in chains_of([path]).values():
        made = [*with_templates(model, chain, library, config), *near_identical(model, chain, config)]
        made.append(replace(folded(untrained, chain, "untrained", config), predicted=0.0, sure=0.0))
        made.append(ideal(chain, states[chain.name]))
        scores += [replace(score, mostly=class_of(states[chain.name])) for score in made]
    best = {score.name: score for kind in (KINDS[0], KINDS[2]) for score in scores if score.kind == kind}
    return [*scores, *(replace(score, kind="sequence + known folds if any") for score in best.values())]


def clusters(model: AlphaFold, shards: Sequence[Path], config: TrainConfig) -> list[Score]:
    """Score one chain of each held-out cluster with a library that holds all other chains."""
    every = (score for chain, library in held_out(shards) for score in with_templates(model, chain, library, config))
    scores = [score for score in every if score.identity]
    near = [replace(s, kind=f"{s.kind}, 30 to 60 % identity") for s in scores if NEAR[0] <= s.identity <= NEAR[1]]
    return [replace(score, kind=f"cluster: {score.kind}") for score in [*scores, *near]]


def long(model: AlphaFold, config: TrainConfig) -> Iterator[Score]:
    """Score the long chains from their sequences, with templates where a search finds some, and copies of the best."""
    library = Library(bundled())
    for chain in chains_of([LONG]).values():
        shown = library.find(Query(chain.name, "", chain.sequence, chain.name)).shown
        identity = shown[0].hit.identity if shown else 0.0
        alone = replace(chain, profile=None, templates=[one.template for one in shown])
        yield folded(model, alone, "long: sequence + known folds if any", config, identity)
        if shown:
            score = copied_lddt(chain, shown[0].template)
            yield Score(chain.name, "long: copy of the best hit", len(chain.sequence), score, 0.0, 0.0, identity)


def table(scores: Sequence[Score]) -> list[dict[str, object]]:
    """One row for each kind: means over its chains, over ranges of length, and over classes of secondary structure."""
    rows = []
    for kind in dict.fromkeys(score.kind for score in scores):
        those = [score for score in scores if score.kind == kind]
        row: dict[str, object] = {"kind": kind, "chains": len(those)}
        row |= {key: round(mean(getattr(s, key) for s in those), 3) for key in ("lddt", "tm_score", "predicted")}
        for low, high in LENGTHS:
            within = [s.lddt for s in those if low <= s.length < high]
            row[f"lddt, {low} to {high}"] = round(mean(within), 3) if within else None
        for name in (*CLASSES, "mixed"):
            alike = [(s.lddt, s.tm_score) for s in those if s.mostly == name]
            row[f"lddt and TM, {name}"] = [round(mean(column), 3) for column in zip(*alike, strict=True)]
            row[name] = len(alike)
        row |= {key: round(median(getattr(s, key) for s in those), 3) for key in ("c_n", "twist", "sure")}
        row["clashes"] = round(mean(s.clashes for s in those), 4)
        if len(those) > 2 and row["predicted"]:
            row["r of the means"] = round(
                float(np.corrcoef([(s.predicted, s.lddt) for s in those], rowvar=False)[0, 1]), 3
            )
        rows.append(row)
    return rows


def figures(scores: Sequence[Score]) -> dict[str, float]:
    """The mean lDDT-CA of each kind of input, which a fold prints."""
    return {kind: round(mean(score.lddt for score in scores if score.kind == kind), 3) for kind in KINDS}


def draw(scores: Sequence[Score], path: Path) -> None:
    """Plot predicted against true lDDT of every chain."""
    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    for kind in KINDS:
        those = [score for score in scores if score.kind == kind]
        axes.plot([s.predicted for s in those], [s.lddt for s in those], "o", markersize=3, label=kind)
    axes.axline((0, 0), slope=1, color="grey", linewidth=1)
    axes.set(xlabel="predicted lDDT-CA (mean pLDDT)", ylabel="true lDDT-CA", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    figure.savefig(path, dpi=120)


def packaged(weights: Path) -> Path:
    """Convert exported weights to the package's file: bfloat16, under its name."""
    described, notes = describe_model(weights), read_metadata(weights).get("notes", "")
    if described is None:
        raise SystemExit(f"{weights}: not exported by `foldcli train`")
    parameters = {name: value.bfloat16() for name, value in read_safetensors(weights).items()}
    export(default_parameters(), build(ModelConfig, described | {"name": NAME}), parameters, notes)
    return default_parameters()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path, default=default_parameters())
    parser.add_argument("--chains", type=Path, default=CARRIED)
    parser.add_argument("--clusters", nargs="*", type=Path, default=[])
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--recycles", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where every chain's scores and the table go, as JSON")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--ship", action="store_true")
    options = parser.parse_args()
    if options.ship:
        options.weights = packaged(options.weights)
    (source,) = resolve([], str(options.weights), [])
    model = load_model(source, torch.device("cpu"), torch.float32)
    config = train_config("mini", [f"sample.max_recycle={options.recycles}", "sample.templates=4"])
    config = replace(config, model=source.config.model)
    scores = validation(model, options.chains, config)
    means = figures(scores)
    if options.clusters:
        scores += clusters(model, options.clusters, config)
    if options.long:
        scores += long(model, config)
    for row in table(scores):
        print(json.dumps(row))
    print(json.dumps(means))
    if options.out:
        made = {"weights": source.digest, "recycles": options.recycles, "table": table(scores), "figures": means}
        write_atomic(options.out, json.dumps(made | {"scores": [asdict(score) for score in scores]}, indent=1) + "\n")
    if options.plot:
        draw(scores, options.plot)
    if options.ship:
        write_atomic(FIGURES, json.dumps(means, indent=1) + "\n")


if __name__ == "__main__":
    main()
