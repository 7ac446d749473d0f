"""Template features: structures aligned to the query (Suppl. Table 1, template rows)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from foldcli.data.chain import Template
from foldcli.geometry.rigid import rotation_to_quaternion
from foldcli.geometry.rigid_groups import group_frames
from foldcli.geometry.torsions import torsion_angles
from foldcli.model.features import TemplateFeatures
from foldcli.protein.residues import CA, CB, GAP, INDEX, C, N
from foldcli.shapes import Float, Int, StartFrames, Tensor


def template_features(
    aatype: Int[Tensor, "*b t i"], positions: Float[Tensor, "*b t i 37 3"], mask: Float[Tensor, "*b t i 37"]
) -> TemplateFeatures:
    """Make template features: residue types, pseudo-beta atoms, backbone masks and torsions (Suppl. Sec. 1.2.9).

    aatype: 0..20, 21 for a gap; positions in angstrom and mask in the slots of `residues.ATOM37`, missing atoms at the
    origin. The pseudo-beta atom is CB, and CA for glycine.
    """
    glycine = aatype == INDEX["G"]
    torsions, torsions_alt, torsions_mask = torsion_angles(aatype, positions, mask)
    return TemplateFeatures(
        mask=mask.new_ones(mask.shape[:-2]),
        aatype=aatype,
        pseudo_beta=torch.where(glycine[..., None], positions[..., CA, :], positions[..., CB, :]),
        pseudo_beta_mask=torch.where(glycine, mask[..., CA], mask[..., CB]),
        backbone_mask=mask[..., [N, CA, C]].prod(-1),
        torsions=torsions,
        torsions_alt=torsions_alt,
        torsions_mask=torsions_mask,
    )


def stack_templates(templates: Sequence[Template], places: int, window: slice) -> TemplateFeatures:
    """Stack templates, cut to the window, into `places` slots [t]; empty slots are masked."""
    length = window.stop - window.start
    if not templates:
        return empty_templates(places, length)
    aatype = np.full((places, length), GAP, np.int64)
    positions, mask = np.zeros((places, length, 37, 3), np.float32), np.zeros((places, length, 37), np.float32)
    for place, template in enumerate(templates):
        aatype[place], positions[place] = template.aatype[window], template.positions[window]
        mask[place] = template.mask[window]
    features = template_features(*map(torch.from_numpy, (aatype, positions, mask)))
    return replace(features, mask=(torch.arange(places) < len(templates)).float())


def chain_template_features(
    aatype: Int[Tensor, "*b t i"], positions: Float[Tensor, "*b t i 37 3"], mask: Float[Tensor, "*b t i 37"]
) -> TemplateFeatures:
    """Template features for models of complexes, which see backbones too; arguments as of `template_features`."""
    return replace(template_features(aatype, positions, mask), backbone=positions[..., [N, CA, C], :])


def stack_chain_templates(
    found: Sequence[Sequence[Template]], lengths: Sequence[int], places: int
) -> TemplateFeatures | None:
    """Lay out the templates of each chain of a complex side by side in `places` slots [t]; None if there are none.

    lengths: residues of each chain. Where a chain has no template it is alanines without atoms, as in
    AlphaFold-Multimer, whose models take the mean over four slots.
    """
    if not any(found):
        return None
    length = sum(lengths)
    aatype = np.zeros((places, length), np.int64)
    positions, mask = np.zeros((places, length, 37, 3), np.float32), np.zeros((places, length, 37), np.float32)
    for templates, own, end in zip(found, lengths, np.cumsum(lengths), strict=True):
        for place, template in enumerate(templates[:places]):
            at = place, slice(end - own, end)
            aatype[at], positions[at], mask[at] = template.aatype, template.positions, template.mask
    features = chain_template_features(*map(torch.from_numpy, (aatype, positions, mask)))
    return replace(features, mask=(torch.arange(places) < max(map(len, found))).float())


def start_frames(templates: Sequence[Template], window: slice) -> StartFrames:
    """Frames that a structure module may go on from, of the residues in the window.

    They are those of the first template's backbone, centred. A residue that it lacks lies on the straight line between
    its neighbours, turned as the nearest of them. Without a template, or without its backbone, all are zero.
    """
    length = window.stop - window.start
    start = torch.zeros(length, 7)
    if not templates:
        return start
    positions, mask = (torch.tensor(x[window]).float() for x in (templates[0].positions, templates[0].mask))
    alanines = torch.full((length,), INDEX["A"])  # a backbone's frame is the same for all kinds of residues
    frames, _, there = group_frames(alanines, positions, mask)
    known = there[:, 0].bool().numpy().nonzero()[0]
    if not len(known):
        return start
    nearest = known[np.abs(np.arange(length)[:, None] - known).argmin(-1)]
    line = gaps_closed(frames.translation[:, 0].numpy(), known)
    start[:, :4] = rotation_to_quaternion(frames.rotation[nearest, 0])
    start[:, 4:] = torch.from_numpy(line - line.mean(0))
    return start


def gaps_closed(points: NDArray[np.float32], known: NDArray[np.int64]) -> NDArray[np.float64]:
    """Points [i, 3], of which those not among `known` are put on the straight line between their neighbours."""
    every = np.arange(len(points))
    return np.stack([np.interp(every, known, points[known, axis]) for axis in range(3)], axis=-1)


def empty_templates(count: int, length: int) -> TemplateFeatures:
    """`count` masked template slots over `length` residues."""
    return TemplateFeatures(
        mask=torch.zeros(count),
        aatype=torch.full((count, length), GAP),
        pseudo_beta=torch.zeros(count, length, 3),
        pseudo_beta_mask=torch.zeros(count, length),
        backbone_mask=torch.zeros(count, length),
        torsions=torch.zeros(count, length, 7, 2),
        torsions_alt=torch.zeros(count, length, 7, 2),
        torsions_mask=torch.zeros(count, length, 7),
    )
