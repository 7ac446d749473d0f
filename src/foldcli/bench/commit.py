"""The commit that a measurement was made with."""

import subprocess
from pathlib import Path


def commit(root: Path) -> str:
    """Commit of a checkout, with "-dirty" if files have changed; "" for any other folder, and without git."""
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return described.stdout.strip()
