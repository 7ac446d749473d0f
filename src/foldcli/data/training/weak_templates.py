"""Template augmentation: make templates worse, like those of remote homologs, by truncation or misalignment."""

from dataclasses import replace

import numpy as np

from foldcli.data.chain import Template
from foldcli.protein.residues import GAP

SHORTEST, FURTHEST = 0.3, 4


def weaken(template: Template, random: np.random.Generator) -> Template:
    """Truncate a template to a stretch of 30 to 100 % of its columns, or shift such a stretch by 1 to 4 residues."""
    columns = np.flatnonzero(template.aatype != GAP)
    if not len(columns):
        return template
    first, last = _stretch(len(columns), random)
    span = slice(int(columns[first]), int(columns[last]) + 1)
    return _cut(template, span) if random.random() < 0.5 else _shifted(template, span, random)


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
