"""Benchmark results as JSON files."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foldcli.files import write_atomic


def save_json(path: Path, results: Any) -> None:
    """Write dataclasses, or lists and dictionaries of them, as JSON; FoldcliError if the file cannot be written."""
    write_atomic(path, json.dumps(results, default=asdict, indent=1) + "\n")
