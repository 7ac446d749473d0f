"""Chains that a file names to be left out."""

from pathlib import Path

from foldcli.data.formats.text_files import read_text


def read_names(path: Path) -> frozenset[str]:
    """The names in a file, one on each line, without comments behind `#`; InputError if it cannot be read."""
    lines = (line.partition("#")[0].strip() for line in read_text(path).splitlines())
    return frozenset(line for line in lines if line)
