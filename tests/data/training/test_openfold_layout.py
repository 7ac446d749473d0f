"""OpenFold's layout: alignments are joined as in AlphaFold, and chains are loaded as indexed."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from foldcli.config import SourceConfig
from foldcli.data.formats.searches import alignment_files, join_alignments
from foldcli.data.training.build_index import build_index
from foldcli.data.training.index import read_index, write_index
from foldcli.data.training.open_source import open_source
from foldcli.data.training.openfold_layout import OpenFoldSource
from foldcli.errors import FoldcliError, InputError
from foldcli.protein.residues import INDEX
from tests.data.structures import backbone, mmcif

CONSTRUCT = ["ALA", "MSE", "GLY", "SER"]
SEQUENCE = "AMGS"


def quiet(done: int, total: int, complaint: str) -> None:
    pass


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Three entries: 1abc_B with two alignments, 2abc_B of the same sequence without any, 3abc_B of another."""
    atoms = [atom for label in (1, 2, 4) for atom in backbone(CONSTRUCT[label - 1], label)]
    (tmp_path / "mmcifs/ab").mkdir(parents=True)
    (tmp_path / "mmcifs/1abc.cif").write_text(mmcif(CONSTRUCT, atoms))
    (tmp_path / "mmcifs/ab/2abc.cif").write_text(mmcif(CONSTRUCT, atoms, "2abc").replace("2008-02-05", "2009-01-01"))
    (tmp_path / "mmcifs/3abc.cif").write_text(mmcif(["TRP"] * 5, backbone("TRP", 2), "3abc"))
    (tmp_path / "mmcifs/4abc.cif").write_text("data_4abc\n")
    rows = tmp_path / "alignments/1abc_B"
    rows.mkdir(parents=True)
    (rows / "mgnify_hits.sto").write_text("# STOCKHOLM 1.0\nq AMGS\nm -MGS\nu AAGS\n//\n")
    (rows / "uniref90_hits.a3m").write_text(f">q\n{SEQUENCE}\n>u\nAAccGS\n")
    (rows / "uniprot_hits.sto").write_text("# STOCKHOLM 1.0\nq AMGS\np SSSS\n//\n")
    (rows / "pdb70_hits.hhr").write_text("Query q\n")
    return tmp_path


def indexed(layout: Path, clusters: Path | None = None) -> SourceConfig:
    made = build_index(layout / "mmcifs", layout / "alignments", clusters, 1, quiet)
    write_index(layout / "index.json", made.records)
    return SourceConfig("openfold", f"{layout}/mmcifs", f"{layout}/alignments", f"{layout}/index.json")


def test_a_folder_is_indexed_and_its_chains_are_loaded(layout):
    source = open_source(indexed(layout))
    # all of its residues are tryptophan
    assert source.dropped == {"more than 80% of one kind of residue": 1}
    assert [(entry.name, entry.length, entry.released) for entry in source.entries] == [
        ("1abc_B", 4, "2008-02-05"), ("2abc_B", 4, "2009-01-01")
    ]  # fmt: skip
    chain = source.load(0)
    assert (chain.sequence, chain.resolution, chain.mask[:, 1].tolist()) == (SEQUENCE, 2.5, [True, True, False, True])
    # uniref90 before mgnify, no duplicate rows, uniprot (for complexes) left out
    rows = ["".join("ARNDCQEGHILKMFPSTWYVX-"[token] for token in row) for row in chain.alignment.tokens]
    assert rows == [SEQUENCE, "AAGS", "-MGS"]
    assert chain.alignment.deletions[1].tolist() == [0, 0, 2, 0]
    assert np.array_equal(source.load(1).alignment.tokens, chain.alignment.tokens)


def test_a_chain_without_alignments_stands_alone(layout):
    config = indexed(layout)
    (layout / "alignments/1abc_B/uniref90_hits.a3m").unlink()
    (layout / "alignments/1abc_B/mgnify_hits.sto").unlink()
    assert OpenFoldSource(config, "train").load(1).alignment is None
    records = {record.name: record for record in read_index(layout / "index.json")}
    assert [records[f"{k}abc_B"].alignment for k in (1, 2, 3)] == ["1abc_B", "1abc_B", ""]


def test_a_source_travels_without_its_index(layout):
    source = OpenFoldSource(indexed(layout), "train")
    assert len(pickle.dumps(source)) < 1000
    assert pickle.loads(pickle.dumps(source)).entries == source.entries


def test_searches_are_capped_and_ordered(tmp_path):
    letters = "ARNDCQEGHILKMFPSTWYV"
    rows = [f"{letters[k // 400 % 20]}{letters[k // 20 % 20]}{letters[k % 20]}R" for k in range(600)]
    text = f">q\n{SEQUENCE}\n" + "".join(f">r\n{row}\n" for row in rows)
    deep = tmp_path / "1abc_A/a3m"
    deep.mkdir(parents=True)
    for name in ("mgnify_hits", "local", "bfd_uniclust_hits", "uniref90_hits", "small_bfd_hits"):
        (deep / f"{name}.a3m").write_text(text if name == "mgnify_hits" else f">q\n{SEQUENCE}\n")
    files = alignment_files(tmp_path, "1abc_A")
    names = ["uniref90_hits", "bfd_uniclust_hits", "small_bfd_hits", "mgnify_hits", "local"]
    assert [file.stem for file in files] == names
    # 501 rows with the query
    assert join_alignments(files, SEQUENCE).depth == 501
    (tmp_path / "2abc_A.a3m").write_text(text)
    assert alignment_files(tmp_path, "2abc_A") == [tmp_path / "2abc_A.a3m"]
    assert alignment_files(tmp_path, "3abc_A") == []


def test_modified_residues_may_be_x_in_the_query(tmp_path):
    file = tmp_path / "bfd.a3m"
    file.write_text(">q\nAXGS\n>r\nAAAA\n")
    assert join_alignments([file], SEQUENCE).tokens[0].tolist() == [INDEX[letter] for letter in SEQUENCE]
    for query, message in {"AWGS": "has 'W' at position 2, the chain has 'M'", "AM": "has 2 residues"}.items():
        file.write_text(f">q\n{query}\n")
        with pytest.raises(InputError, match=rf"bfd\.a3m: its query {message}"):
            join_alignments([file], SEQUENCE)


def test_a_structure_that_changed_is_named(layout):
    source = OpenFoldSource(indexed(layout), "train")
    (layout / "mmcifs/1abc.cif").write_text((layout / "mmcifs/3abc.cif").read_text())
    with pytest.raises(InputError, match=r"1abc\.cif: chain B is not as indexed; run `foldcli data index` again"):
        source.load(0)


@pytest.mark.parametrize("content", ["[1]", '{"version": 0, "chains": []}', '{"version": 1, "chains": [{}]}', "index"])
def test_what_is_no_index_is_named(content, layout):
    config = indexed(layout)
    Path(config.index).write_text(content)
    with pytest.raises(InputError, match=r"'train\.index': .*index\.json: is no index of this version"):
        OpenFoldSource(config, "train")
    text = '{"version": 1, "chains": [{"name": "a", "file": 3}]}'
    Path(config.index).write_text(text)
    with pytest.raises(InputError, match="is no index"):
        read_index(Path(config.index))


def test_nothing_found_ends_the_work(layout):
    for name in ("1abc.cif", "3abc.cif", "ab/2abc.cif"):
        (layout / "mmcifs" / name).unlink()
    with pytest.raises(FoldcliError, match="no chain was found in 1 files, 1 of which are unreadable") as error:
        indexed(layout)
    assert error.value.exit_code == 1
