"""Read lists of chain names, such as those to leave out."""

from pathlib import Path

from foldcli.data.formats.text_files import read_text


def read_names(path: Path) -> frozenset[str]:
    """Read a file of names, one a line, `#` starting a comment; InputError if it cannot be read."""
    lines = (line.partition("#")[0].strip() for line in read_text(path).splitlines())
    return frozenset(line for line in lines if line)
