"""report.html: a job's predictions on one self-contained page, which needs no network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from foldcli.protein.structure import Prediction
from foldcli.report.assets import document
from foldcli.report.citations import Citation
from foldcli.report.embedded import embedded
from foldcli.report.plots import BANDS
from foldcli.report.provenance import UNTRAINED, Provenance

SCRIPTS = ("3Dmol-min.js", "state.js", "structure.js", "map.js", "tracks.js", "interfaces.js", "ranks.js")
INTERFACES = """<section class="card" id="interfaces-card" aria-labelledby="interfaces-heading">
<h2 id="interfaces-heading">Interfaces and chains</h2>
<div class="interfaces"><table id="interfaces"></table><table id="chains"></table></div>
<p class="quiet">A click on an interface shows it in the structure and on the map.</p>
</section>
"""


@dataclass(frozen=True)
class Contents:
    """What a job's report shows.

    ranked: predictions with their provenance, the best first; structures: the file of each, mmCIF or PDB, whose text is
    embedded; tokens [s, i]: the alignment, 21 a gap; files: names in the job's folder, as links; notes: lines on
    relaxation and on templates that were not used; settings and timings (seconds): by name.
    """

    ranked: Sequence[tuple[Prediction, Provenance]]
    structures: Sequence[Path]
    tokens: NDArray[np.int8]
    files: Sequence[str]
    notes: Sequence[str]
    settings: Mapping[str, object]
    timings: Mapping[str, float]
    citations: Sequence[Citation]


def report_html(contents: Contents) -> str:
    """The page's HTML."""
    predictions, provenances = zip(*contents.ranked, strict=True)
    first: Provenance = provenances[0]
    return document(
        "report.html",
        SCRIPTS,
        name=escape(first.name),
        title=escape(first.title),
        banner="" if all(one.trained for one in provenances) else f'<p class="banner">{escape(UNTRAINED)}</p>',
        facts=_facts(predictions[0], first),
        interfaces=INTERFACES if predictions[0].structure.chain_lengths else "",
        ranks="\n".join(_rank(k, one) for k, one in enumerate(predictions)),
        files="\n".join(f'<li><a href="{quote(name)}">{escape(name)}</a></li>' for name in contents.files),
        settings=_rows(contents.settings),
        timings=_timings(contents.timings),
        parameters=_items(f"{prediction.model}: {one.parameters}" for prediction, one in contents.ranked),
        templates=_items(name for one in provenances for name in one.templates) or "<li>none were shown</li>",
        notes=f"<h2>Notes</h2><ul class=plain>{_items(contents.notes)}</ul>" if contents.notes else "",
        citations="\n".join(_citation(one) for one in contents.citations),
        version=escape(first.version),
        data=embedded(predictions, contents.structures, contents.tokens),
    )


def dot(plddt: float) -> str:
    """HTML of a dot in the colour of a pLDDT's confidence band, with the band's name as its title."""
    colour, name = next((colour, name) for low, _, colour, name in BANDS if plddt >= low)
    return f'<i class="dot" style="background:{colour}" title="{name}"></i>'


def _facts(best: Prediction, provenance: Provenance) -> str:
    alone = "single sequence, no alignment"
    given = f"alignment of {provenance.depth:,} sequences" if provenance.depth > 1 else alone
    if count := len(provenance.templates):
        given += f", {count} template{'s' * (count > 1)}"
    given = escape(", ".join([given, *provenance.given]))
    facts = {"mean pLDDT": f"{dot(best.mean_plddt)}{best.mean_plddt:.1f}"}
    facts |= {} if best.ptm is None else {"pTM": f"{best.ptm:.2f}"}
    facts |= {} if best.iptm is None else {"ipTM": f"{best.iptm:.2f}"}
    count = len(best.structure.chain_lengths)
    facts |= {"residues": f"{len(best.plddt):,}" + (f" in {count} chains" if count else ""), "input": given}
    return "\n".join(f"<div><dt>{what}</dt><dd>{value}</dd></div>" for what, value in facts.items())


def _rank(k: int, prediction: Prediction) -> str:
    ptm = "" if prediction.ptm is None else f", pTM {prediction.ptm:.2f}"
    ptm += "" if prediction.iptm is None else f", ipTM {prediction.iptm:.2f}"
    picture = "" if prediction.pae is None else '<canvas aria-hidden="true"></canvas>'
    return (
        f'<label><input type="radio" name="rank" value="{k}"{" checked" * (k == 0)}>{picture}'
        f"<span><b>Rank {k + 1}</b><span>{dot(prediction.mean_plddt)}pLDDT {prediction.mean_plddt:.1f}{ptm}</span>"
        f"<small>{escape(prediction.model)}, seed {prediction.seed}</small></span></label>"
    )


def _rows(values: Mapping[str, object]) -> str:
    return "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(str(value))}</td></tr>' for name, value in values.items()
    )


def _timings(seconds: Mapping[str, float]) -> str:
    longest = max(seconds.values(), default=0) or 1
    return "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{value:,.2f} s</td>'
        f'<td class="bar"><i style="width:{100 * value / longest:.1f}%"></i></td></tr>'
        for name, value in seconds.items()
    )


def _items(texts: Iterable[str]) -> str:
    return "\n".join(f"<li>{escape(text)}</li>" for text in dict.fromkeys(texts))


def _citation(one: Citation) -> str:
    return f'<li><b>{escape(one.use)}</b>: {escape(one.text)} <a href="{escape(one.link)}">{escape(one.link)}</a></li>'
