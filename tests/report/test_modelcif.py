import io
from dataclasses import replace

import gemmi
import modelcif.protocol
import modelcif.qa_metric as qa
import modelcif.reader
import numpy as np
import pytest
from Bio.PDB import MMCIFParser
from Bio.PDB.MMCIF2Dict import MMCIF2Dict
from hypothesis import given

from foldcli.errors import FoldcliError
from foldcli.protein.residues import ATOM37
from foldcli.protein.structure import Prediction
from foldcli.report.modelcif import modelcif_text
from foldcli.report.provenance import Provenance
from tests.report.complexes import complex_prediction, read_chains
from tests.report.samples import prediction, predictions, provenance, provenances
from tests.report.test_pdb import TOLERANCE


def _atoms(predicted: Prediction) -> dict[tuple[int, str], list[float]]:
    chain = predicted.structure
    return {
        (int(chain.residue_index[i]), ATOM37[k]): [*chain.positions[i, k], chain.b_factor[i]]
        for i, k in np.argwhere(chain.mask)
    }


@given(predictions, provenances)
def test_biopython_reads_it_back(predicted: Prediction, origin: Provenance) -> None:
    text = modelcif_text(predicted, origin)
    assert text.isascii()
    read = {
        (atom.get_parent().id[1], atom.name): [*atom.coord, atom.bfactor]
        for atom in MMCIFParser(QUIET=False).get_structure("x", io.StringIO(text)).get_atoms()
    }
    expected = _atoms(predicted)
    assert list(read) == list(expected)
    np.testing.assert_allclose(list(read.values()), list(expected.values()), rtol=0, atol=TOLERANCE)


def test_gemmi_reads_it_back() -> None:
    predicted = prediction("MKXWLLDC", first=5)
    block = gemmi.cif.read_string(modelcif_text(predicted, provenance())).sole_block()
    structure = gemmi.make_structure_from_block(block)
    assert [str(entity.entity_type) for entity in structure.entities] == ["EntityType.Polymer"]
    assert structure.entities[0].full_sequence == ["MET", "LYS", "UNK", "TRP", "LEU", "LEU", "ASP", "CYS"]
    read = {
        (cra.residue.seqid.num, cra.atom.name): [*cra.atom.pos.tolist(), cra.atom.b_iso] for cra in structure[0].all()
    }
    expected = _atoms(predicted)
    assert list(read) == list(expected)
    np.testing.assert_allclose(list(read.values()), list(expected.values()), rtol=0, atol=0.00051)


def test_says_how_it_was_made_and_how_sure_it_is() -> None:
    predicted = prediction("MKXW")
    (system,) = modelcif.reader.read(io.StringIO(modelcif_text(predicted, provenance(depth=1))))
    (software,) = system.software
    assert (software.name, software.version) == ("foldcli", "1.2.3")
    assert software.citation.doi == "10.1038/s41586-021-03819-2"
    (step,) = system.protocols[0].steps
    assert isinstance(step, modelcif.protocol.ModelingStep)
    assert "single sequence" in step.details
    settings = {p.name: p.value for p in step.software[0].parameters}
    assert settings == {
        "model": "model_1_ptm", "seed": 0, "recycles": 3, "trained": "yes",
        "parameters": "AlphaFold 2022-12-06, CC BY 4.0",
    }  # fmt: skip
    assert "".join(c.code_canonical for c in system.entities[0].sequence) == "MKXW"

    metrics = system.model_groups[0][0].qa_metrics
    local = [(m.residue.seq_id, m.value) for m in metrics if isinstance(m, qa.Local)]
    assert local == [(i + 1, pytest.approx(v, abs=0.0051)) for i, v in enumerate(predicted.plddt)]
    overall = {m.type: m.value for m in metrics if isinstance(m, qa.Global)}
    assert overall == {
        "pLDDT": pytest.approx(predicted.mean_plddt, abs=0.0051),
        "pTM": pytest.approx(predicted.ptm, abs=0.00051),
    }


@pytest.mark.parametrize(
    "title",
    [
        "5'-nucleotidase",
        "2',3'-cyclic \"CNPase\" of 'x' and \"y\" z",
        "#1",
        "_struct.title x",
        "a\\b 'c'",
        ";x",
        "DATA_1",
        "?",
    ],
)
def test_titles_are_quoted_as_cif_has_it(title: str) -> None:
    text = modelcif_text(prediction("MKV"), provenance(title=title))
    block = gemmi.cif.read_string(text).sole_block()
    for tag in ("_struct.title", "_entity.pdbx_description"):
        found = block.find_value(tag) or block.find_loop(tag)[0]
        assert gemmi.cif.as_string(found) == title
    assert MMCIF2Dict(io.StringIO(text))["_struct.title"] == [title]
    (system,) = modelcif.reader.read(io.StringIO(text))
    assert system.title == title


def test_aligned_errors_are_named_as_an_associated_file() -> None:
    cif = MMCIF2Dict(io.StringIO(modelcif_text(prediction("MKV"), provenance(), "job_pae.json")))
    named = [cif[f"_ma_entry_associated_files.{tag}"] for tag in ("file_url", "file_format", "file_content")]
    assert named == [["job_pae.json"], ["json"], ["QA metrics"]]
    assert "associated_files" not in modelcif_text(prediction("MKV", ptm=False), provenance())


@pytest.mark.parametrize("trained", [True, False])
def test_untrained_parameters_are_stated(trained: bool) -> None:
    cif = MMCIF2Dict(io.StringIO(modelcif_text(prediction("MK", ptm=False), provenance(trained=trained))))
    title, details = cif["_struct.title"][0], cif["_struct.pdbx_model_details"][0]
    assert ("untrained" in title, "UNTRAINED" in details) == (not trained, not trained)
    assert "pTM" not in cif["_ma_qa_metric.type"]


def test_no_atoms_or_a_value_that_is_not_finite_is_refused() -> None:
    predicted = prediction("MKV")
    with pytest.raises(FoldcliError, match="no atoms"):
        modelcif_text(prediction("XX"), provenance())
    bad = replace(predicted.structure, positions=np.full_like(predicted.structure.positions, np.inf))
    with pytest.raises(FoldcliError, match="coordinate is not finite"):
        modelcif_text(replace(predicted, structure=bad), provenance())
    with pytest.raises(FoldcliError, match="pLDDT is not finite"):
        modelcif_text(replace(predicted, plddt=np.full(3, np.nan, np.float32)), provenance())


def test_chains_of_a_complex_are_read_back() -> None:
    """A different sequence is an entity, each of its copies a chain with numbers of its own from 1."""
    predicted = complex_prediction()
    sequence, text = predicted.structure.sequence, modelcif_text(predicted, provenance(title="x"))
    expected = {
        name: (sequence[start : start + length], list(range(1, length + 1)))
        for name, start, length in (("A", 0, 19), ("B", 19, 20), ("C", 39, 19))
    }
    found = gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())
    assert read_chains(found) == expected
    assert [entity.subchains for entity in found.entities] == [["A", "C"], ["B"]]
    assert [gemmi.one_letter_code(entity.full_sequence) for entity in found.entities] == [
        sequence[:19],
        sequence[19:39],
    ]
    chains = MMCIFParser(QUIET=False).get_structure("x", io.StringIO(text))[0]
    assert {chain.id: [residue.id[1] for residue in chain] for chain in chains} == {
        k: v[1] for k, v in expected.items()
    }

    (system,) = modelcif.reader.read(io.StringIO(text))
    assert [entity.description for entity in system.entities] == ["x, chains A, C", "x, chain B"]
    metrics = system.model_groups[0][0].qa_metrics
    local = [(m.residue.asym.id, m.residue.seq_id, m.value) for m in metrics if isinstance(m, qa.Local)]
    assert [one[:2] for one in local] == [
        (name, number) for name, (_, numbers) in expected.items() for number in numbers
    ]
    np.testing.assert_allclose([one[2] for one in local], predicted.plddt, atol=0.0051)
    overall = {m.type: m.value for m in metrics if isinstance(m, qa.Global)}
    assert overall["ipTM"] == pytest.approx(predicted.iptm, abs=0.00051)


def test_chains_beyond_the_letters_have_two() -> None:
    one = prediction("A" * 70)
    many = replace(one.structure, residue_index=np.ones(70, int), chain_lengths=(1,) * 70)
    text = modelcif_text(replace(one, structure=many), provenance())
    names = [chain.name for chain in gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())[0]]
    assert names[60:] == ["8", "9", "AA", "AB", "AC", "AD", "AE", "AF", "AG", "AH"]
