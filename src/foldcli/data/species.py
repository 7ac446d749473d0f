"""The species of a sequence, as the header of its row in an alignment says it."""

import re
from typing import Final

# UniProt's entry names, alone or behind `sp|` or `tr|` and the accession: their second half names the species.
ENTRY_NAME: Final = re.compile(
    r"(?:(?:sp|tr)\|[A-Za-z0-9]{6,10}(?:_\d)?\|[A-Za-z0-9]+_(?P<of_record>[A-Za-z0-9]{1,5})(?:_\d+)?"
    r"|[A-Z0-9]{1,10}_(?P<alone>[A-Z]{3}[A-Z0-9]{0,2}|9[A-Z]{4}))"
)
# The number in NCBI's taxonomy, in headers of UniProt and of UniRef.
TAXON: Final = re.compile(r"\b(?:OX|TaxID)=(\d+)\b")


def species_of(title: str) -> str:
    """The species, empty where the header says none: UniProt's code (HUMAN), else NCBI's number (9606).

    Codes are found where AlphaFold-Multimer finds them (Evans et al. 2021, Suppl. Sec. 7.2), and in entry names alone.
    """
    name = (title.split() or [""])[0].partition("/")[0]
    if found := ENTRY_NAME.fullmatch(name):
        return found["of_record"] or found["alone"]
    numbered = TAXON.search(title)
    return numbered[1] if numbered else ""
