"""Template augmentation: worse templates, like those of remote homologs, and one nearly the truth."""

from dataclasses import replace

import numpy as np

from foldcli.data.chain import Chain, Template
from foldcli.protein.residues import GAP, residue_types

SHORTEST, FURTHEST = 0.3, 4
# Angstrom: how far residues of a near-identical relative lie from the chain's own, by their mean square on each axis.
NOISE = 0.8


def weaken(template: Template, random: np.random.Generator) -> Template:
    """Truncate a template to a stretch of 30 to 100 % of its columns, or shift such a stretch by 1 to 4 residues."""
    columns = np.flatnonzero(template.aatype != GAP)
    if not len(columns):
        return template
    first, last = _stretch(len(columns), random)
    span = slice(int(columns[first]), int(columns[last]) + 1)
    return _cut(template, span) if random.random() < 0.5 else _shifted(template, span, random)


def nearly_true(chain: Chain, random: np.random.Generator) -> Template:
    """The chain's own structure as a template, each residue moved as a whole by noise of up to NOISE on each axis."""
    moved = random.normal(scale=random.uniform(0, NOISE), size=(len(chain.sequence), 1, 3)).astype(np.float32)
    kinds = np.asarray(residue_types(chain.sequence), np.int8)
    return Template(chain.name, kinds, (chain.positions + moved) * chain.mask[..., None], chain.mask)


def _stretch(count: int, random: np.random.Generator) -> tuple[int, int]:
    """First and last of a random stretch of `count` columns."""
    length = max(1, int(count * random.uniform(SHORTEST, 1)))
    first = int(random.integers(count - length + 1))
    return first, first + length - 1


def _cut(template: Template, span: slice) -> Template:
    kept = np.zeros(len(template.aatype), np.bool_)
    kept[span] = True
    return replace(
        template,
        aatype=np.where(kept, template.aatype, GAP).astype(np.int8),
        positions=template.positions * kept[:, None, None],
        mask=template.mask & kept[:, None],
    )


def _shifted(template: Template, span: slice, random: np.random.Generator) -> Template:
    """Roll the residues within the span: those that leave at one end enter at the other, misplaced too."""
    by = int(random.integers(1, FURTHEST + 1)) * int(random.choice((-1, 1)))
    aatype, positions, mask = template.aatype.copy(), template.positions.copy(), template.mask.copy()
    for array in (aatype, positions, mask):
        array[span] = np.roll(array[span], by, axis=0)
    return replace(template, aatype=aatype, positions=positions, mask=mask)
