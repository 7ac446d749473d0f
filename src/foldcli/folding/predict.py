"""One model on one query: recycling passes, then a structure with its confidence."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from foldcli.config import FoldConfig
from foldcli.data.query import Query
from foldcli.errors import FoldcliError
from foldcli.folding.chunking import plain
from foldcli.geometry.backbone import close_peptides
from foldcli.model.alphafold import Folded, FoldingModel
from foldcli.model.confidence import aligned_tm_scores, chain_tm_scores, error_bins, expected_aligned_error, plddt
from foldcli.model.features import Features, Recycled, map_tensors
from foldcli.model.layers import widened
from foldcli.parallel.shard import gather_rows
from foldcli.protein import residues
from foldcli.protein.interfaces import interfaces, iptm
from foldcli.protein.structure import Prediction, Structure
from foldcli.shapes import Atoms37

# Rows of residue pairs, of which distances or aligned errors are computed at once.
ROWS = 64
Timed = Callable[[str], AbstractContextManager[object]]


@torch.inference_mode()
def predict(
    model: FoldingModel,
    query: Query,
    passes: Iterable[Features],
    config: FoldConfig,
    precision: torch.dtype,
    seed: int,
    passed: Callable[[int, float, float], None],
    timed: Timed = nullcontext,
    previous: Recycled | None = None,
) -> Prediction:
    """Fold a query by one pass for each of `passes`, which are a pass's features.

    precision: of the model's trunk; passed: called after every pass with its number, the root mean square change of CA
    distances in angstrom, and its seconds; timed: what comes after the passes runs in it, with the phase's name;
    previous: what the first pass recycles, None for zeros.

    Recycling ends early once that change is below config.recycle_early_stop_tolerance. The prediction is that of the
    last pass; of a model that says so, that of the surest pass, and recycling ends once confidence has fallen twice.
    """
    device = next(model.parameters()).device
    upcoming, made = iter(passes), list[Prediction]()
    surest = config.model.surest_pass
    features, output, count = next(upcoming), None, 0
    while True:
        start = time.perf_counter()
        on_device = map_tensors(features, lambda x: x.to(device))
        before = previous.positions if previous else torch.zeros(*on_device.aatype.shape, 37, 3, device=device)
        output = None
        output = model(on_device, previous)
        previous = output.recycled()
        launched = time.perf_counter()
        following = next(upcoming, None)  # made while a GPU runs this pass
        spent = time.perf_counter() - launched  # has a line of its own in timings.json
        moved = distance_change(before, output.positions)
        passed(count, moved, time.perf_counter() - start - spent)
        require_finite(output, query, precision)
        settled = count > 0 and moved < config.recycle_early_stop_tolerance
        if surest or config.save_recycles:
            made.append(assemble(output, model, query, config, seed, count, timed))
        if following is None or settled or (surest and _fell_twice(made)):
            break
        features, count = following, count + 1
    return chosen(made or [assemble(output, model, query, config, seed, count, timed)], config, timed)


def chosen(made: Sequence[Prediction], config: FoldConfig, timed: Timed) -> Prediction:
    """The last pass's prediction, or the surest one's, with those of all passes where they are asked for."""
    prediction = max(made, key=lambda one: one.mean_plddt) if config.model.surest_pass else made[-1]
    shown = [closed(one, config, timed) for one in made if config.save_recycles]
    bare: dict[str, Any] = {"pae": None, "max_pae": None, "interfaces": None, "representations": {}}
    return replace(closed(prediction, config, timed), passes=[replace(one, **bare) for one in shown])


def _fell_twice(made: Sequence[Prediction]) -> bool:
    """Whether each of the last two passes was less sure than the one before it."""
    return len(made) > 2 and made[-1].mean_plddt < made[-2].mean_plddt < made[-3].mean_plddt


def closed(prediction: Prediction, config: FoldConfig, timed: Timed) -> Prediction:
    """The prediction with its peptides closed where the model has no side chains."""
    if config.model.side_chains:
        return prediction
    with timed("peptides"):
        positions = close_peptides(torch.from_numpy(prediction.structure.positions), config.cyclic)
    return replace(prediction, structure=replace(prediction.structure, positions=positions.numpy()))


def recycled_guess(positions: np.ndarray, c_m: int, c_z: int, ranks: int, like: torch.Tensor) -> Recycled:
    """What a first pass recycles to begin at these positions, [i, 37, 3]; the representations are zeros.

    ranks: how many share the pass, and so the padded rows of the pairs; like: a tensor of the trunk's dtype and device.
    """
    length = len(positions)
    rows = -(-length // ranks)
    columns = length if ranks == 1 else rows * ranks
    atoms = torch.from_numpy(positions).to(like.device)
    return Recycled(atoms.new_zeros(length, c_m), like.new_zeros(rows, columns, c_z), atoms)


def require_finite(output: Folded, query: Query, precision: torch.dtype) -> None:
    """Raise FoldcliError for positions or confidences that are NaN or infinite, with what may help."""
    if not (output.positions.isfinite().all() and output.lddt.isfinite().all()):
        way_out = (
            "check the parameters with `foldcli weights verify`"
            if precision == torch.float32 else "fold again with --precision fp32"
        )  # fmt: skip
        raise FoldcliError(f"{query.name}: what the model predicts is not finite; {way_out}")


def distance_change(before: Atoms37, after: Atoms37) -> float:
    """Root mean square change of all distances between CA atoms, in angstrom (AF2Complex, Gao et al. 2022)."""
    old, new = before[..., residues.CA, :], after[..., residues.CA, :]
    rows = zip(old.split(ROWS, -2), new.split(ROWS, -2), strict=True)
    squares = [(torch.cdist(a, old) - torch.cdist(b, new)).square().sum() for a, b in rows]
    return float((torch.stack(squares).sum() / len(old) ** 2).sqrt())


def assemble(
    output: Folded, model: FoldingModel, query: Query, config: FoldConfig, seed: int, recycles: int, timed: Timed
) -> Prediction:
    """The prediction of a pass, as numpy arrays; its peptides are not closed yet."""
    with timed("confidence"):
        structure, head = _structure(output, query, config), plain(model).heads.pae
        errors = {} if head is None else _aligned_errors(output, head, config.model.heads.pae_last_break, structure)
        return Prediction(
            structure=structure, plddt=structure.b_factor, model=config.model.name, seed=seed, recycles=recycles,
            representations=_representations(output, config), **errors,
        )  # fmt: skip


def _structure(output: Folded, query: Query, config: FoldConfig) -> Structure:
    aatype = [residues.INDEX[letter] for letter in query.sequence]
    atoms = residues.ATOM37_MASK[aatype].astype(bool)
    if not config.model.side_chains:
        atoms[:, residues.O + 1 :] = False  # O is the last of N, CA, C, CB, O in the order of atom37
    return Structure(
        sequence=query.sequence,
        positions=_array(output.positions),
        mask=atoms,
        residue_index=np.concatenate([np.arange(len(chain)) for chain in query.chains]) + config.first_residue,
        b_factor=_array(plddt(output.lddt)),
        cyclic=config.cyclic,
        chain_lengths=query.chain_lengths,
    )


def _aligned_errors(output: Folded, head: nn.Linear, last_break: float, structure: Structure) -> dict[str, Any]:
    """What a prediction has of its aligned errors: these in angstrom, and TM-scores; rows are gathered from all ranks.

    head: gives the logits of a few rows of pairs at a time, since those of all would be a fold's peak memory.
    """
    length, lengths = output.lddt.shape[-2], structure.chain_lengths
    ones, pairs = output.lddt.new_ones(length), output.pair[..., :length, :]
    rows = torch.empty(len(pairs), 1 + 2 * len(lengths) + length)
    for some, into in zip(pairs.split(ROWS), rows.split(ROWS), strict=True):
        logits = head(widened(some))
        scores = [aligned_tm_scores(logits, last_break, ones).unsqueeze(-1)]
        scores += [chain_tm_scores(logits, last_break, lengths).flatten(-2)] if lengths else []
        into.copy_(torch.cat([*scores, expected_aligned_error(logits, last_break)], dim=-1))
    ptm, by_chain, errors = np.split(_array(gather_rows(rows, output)), [1, 1 + 2 * len(lengths)], axis=1)
    found: dict[str, Any] = {"pae": errors, "ptm": float(ptm.max())}
    found["max_pae"] = float(error_bins(head.out_features, last_break, output.lddt)[-1])
    if lengths:
        scores_by_chain = by_chain.reshape(length, len(lengths), 2)
        found["iptm"] = iptm(scores_by_chain[..., 0], structure)
        found["interfaces"] = interfaces(structure, structure.b_factor, errors, scores_by_chain)
    return found


def _representations(output: Folded, config: FoldConfig) -> dict[str, np.ndarray]:
    wanted = {}
    if config.save_single_representations:
        wanted["single"] = _array(output.single)
    if config.save_pair_representations:
        pairs = gather_rows(output.pair[..., : output.lddt.shape[-2], :], output)
        wanted["pair"] = _array(pairs).copy()  # the next pass may overwrite its pairs
    return wanted


def _array(x: torch.Tensor) -> np.ndarray:
    return x.float().cpu().numpy()
