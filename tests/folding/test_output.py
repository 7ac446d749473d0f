"""What is written of a job, and what is said where a format cannot hold it."""

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
    notes = write_job(tmp_path, Query("q", "", "A" * chains, "q", chain_lengths=lengths), "", ranked, "plddt")
    assert {path.suffix for path in tmp_path.glob("q_unrelaxed_*")} == suffixes
    assert notes == ["the PDB format cannot hold this structure: chain name 'AA' is not one letter; use the .cif"] * (
        ".pdb" not in suffixes
    )
