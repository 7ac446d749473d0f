"""The papers to cite for a job's results, in its report and as BibTeX."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Methods that a job may use, in the order of citation, with the keys of their papers in citations.bib.
METHODS: Final = {
    "structure prediction": ("jumper2021",),
    "complexes": ("evans2021",),
    "confidence of interfaces": ("dunbrack2025", "bryant2022", "zhu2023"),
    "one prediction over several devices": ("cheng2024",),
    "chunks that fit into memory (AutoChunk)": ("zhao2024",),
    "alignment from the ColabFold server": ("mirdita2022", "steinegger2017"),
    "alignment by HMMER": ("eddy2011", "larralde2023"),
    "alignment by MMseqs2": ("steinegger2017",),
    "templates by HMMER": ("eddy2011", "larralde2023"),
    "relaxation by OpenMM": ("eastman2024", "maier2015"),
    "drawing of the structure": ("rego2015",),
}
ALWAYS: Final = ("structure prediction", "drawing of the structure")
_ENTRY: Final = re.compile(r"@\w+\{(\w+),.*?\n\}\n", re.DOTALL)
_FIELD: Final = re.compile(r"^  (\w+) = \{(.*)\},?$", re.MULTILINE)
_ACCENT: Final = {r"{\"u}": "ü", r"{\"o}": "ö", r"{\'a}": "á", r"{\'u}": "ú", r"{\=e}": "ē"}


@dataclass(frozen=True)
class Citation:
    """A paper: what the job used it for, and its BibTeX entry."""

    use: str
    bibtex: str

    @property
    def text(self) -> str:
        """Authors, year, title and where it appeared, on one line."""
        field = {name: _plain(value) for name, value in _FIELD.findall(self.bibtex)}
        authors = field["author"].replace(" and others", " et al.").replace(" and ", "; ")
        place = ", ".join(
            [field.get("journal") or field["booktitle"], *filter(None, map(field.get, ("volume", "pages")))]
        )
        return f"{authors} ({field['year']}). {field['title']}. {place}."

    @property
    def link(self) -> str:
        """Its DOI as a URL, else the URL of its entry."""
        field = dict(_FIELD.findall(self.bibtex))
        return f"https://doi.org/{field['doi']}" if "doi" in field else field["url"]


def citations(used: Iterable[str]) -> list[Citation]:
    """The papers of the methods used and of those in ALWAYS, each once; KeyError for an unknown method."""
    text = Path(__file__).with_name("citations.bib").read_text(encoding="utf-8")
    entries = {found[1]: found[0] for found in _ENTRY.finditer(text)}
    wanted = {*ALWAYS, *used}
    if unknown := wanted - METHODS.keys():
        raise KeyError(f"no citation for {sorted(unknown)}")
    # Reversed, so that a paper with two uses gets the first.
    uses = {key: use for use in reversed(METHODS) if use in wanted for key in METHODS[use]}
    return [Citation(uses[key], entry) for key, entry in entries.items() if key in uses]


def _plain(text: str) -> str:
    """LaTeX text as plain Unicode."""
    for code, letter in _ACCENT.items():
        text = text.replace(code, letter)
    return text.replace("{", "").replace("}", "").replace("--", "–")
