"""What is written of a job, and what is said where a format cannot hold it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldcli.data.query import Query
from foldcli.folding.output import write_job
from tests.report.samples import prediction, provenance


@pytest.mark.parametrize(("chains", "suffixes"), [(62, {".pdb", ".cif"}), (63, {".cif"})])
def test_more_chains_than_letters_are_written_as_mmcif_alone_and_it_is_said(
    tmp_path: Path, chains: int, suffixes: set[str]
) -> None:
    one, lengths = prediction("A" * chains, ptm=False), (1,) * chains
    of = replace(one.structure, residue_index=np.ones(chains, int), chain_lengths=lengths)
    ranked = [(replace(one, structure=of, seed=seed), provenance("q")) for seed in (0, 1)]
    notes = write_job(tmp_path, Query("q", "", "A" * chains, "q", chain_lengths=lengths), "", ranked, "plddt", "json")
    assert {path.suffix for path in tmp_path.glob("q_unrelaxed_*")} == suffixes
    assert notes == ["the PDB format cannot hold this structure: chain name 'AA' is not one letter; use the .cif"] * (
        ".pdb" not in suffixes
    )


@pytest.mark.parametrize("kind", ["json", "npz", "none"])
def test_aligned_errors_are_written_as_asked_and_named_in_the_structure(tmp_path: Path, kind: str) -> None:
    ranked = [(prediction("MKV"), provenance("q"))]
    write_job(tmp_path, Query("q", "", "MKV", "q"), "", ranked, "plddt", kind)
    written = [path.name for path in tmp_path.glob("q_predicted_aligned_error_*")]
    assert [Path(name).suffix for name in written] == [f".{kind}"] * (kind != "none")
    (structure,) = tmp_path.glob("*.cif")
    assert ("predicted_aligned_error" in structure.read_text()) == bool(written)
    assert all(name in structure.read_text() for name in written)
    (scores,) = tmp_path.glob("q_scores_*.json")
    assert ("pae" in json.loads(scores.read_text())) == (kind == "json")
    summary = json.loads((tmp_path / "q_summary_confidences.json").read_text())
    assert summary["chain_pair_pae_min"][0][0] is not None
