"""A job's folder as one zip file beside it."""

import zipfile
from pathlib import Path

from foldcli.files import atomic_file


def zip_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.zip")


def zip_job(folder: Path) -> None:
    """Write NAME.zip beside a finished folder NAME; FoldcliError if it cannot be written."""
    with atomic_file(zip_file(folder)) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"{folder.name}/{path.name}")
