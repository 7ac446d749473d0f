"""The folder in which foldcli keeps what can be downloaded or measured again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder FOLDCLI_HOME, else foldcli in XDG_CACHE_HOME, else ~/.cache/foldcli; it need not exist."""
    if named := os.environ.get("FOLDCLI_HOME"):
        return Path(named).expanduser().absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says to ignore relative paths.
    return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "foldcli"
