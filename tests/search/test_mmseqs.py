"""MMseqs2, if installed, finds homologs in its database."""

import shutil
import subprocess
from pathlib import Path

import pytest

from foldcli.data.formats.alignment import parse_alignments
from foldcli.errors import FoldcliError, InputError
from foldcli.search.chains import KnownChain
from foldcli.search.mmseqs import Mmseqs, is_database
from foldcli.search.progress import Stopped
from tests.search.test_jackhmmer import quiet, write


def test_without_mmseqs_its_databases_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "db.dbtype").touch()
    assert is_database(tmp_path / "db")
    with pytest.raises(InputError, match="there is no mmseqs on the path"):
        Mmseqs(tmp_path / "db", 1)


@pytest.fixture
def database(chains: list[KnownChain], tmp_path: Path) -> Path:
    if shutil.which("mmseqs") is None:
        pytest.skip("needs mmseqs")
    fasta = write(tmp_path / "db.fasta", chains[0].sequence, seed=1)
    subprocess.run(["mmseqs", "createdb", fasta, tmp_path / "db"], check=True, capture_output=True)
    return tmp_path / "db"


def test_a_family_is_found(chains: list[KnownChain], database: Path) -> None:
    sequence = chains[0].sequence
    text = Mmseqs(database, 2).search(sequence, quiet)
    ((query, rows),) = parse_alignments(text, Path("found.a3m")).items()
    assert query == sequence and len(rows.letters) > 20
    assert ">other" not in text


def test_what_mmseqs_says_is_passed_on_and_it_can_be_ended(chains: list[KnownChain], database: Path) -> None:
    def stop(detail: str, share: float | None = None) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        Mmseqs(database, 1).search(chains[0].sequence, stop)
    database.write_bytes(b"")
    with pytest.raises(FoldcliError, match=r"--db .*db: mmseqs search failed: \w+"):
        Mmseqs(database, 1).search(chains[0].sequence, quiet)
