"""A kept prediction is read back with all that its files are written from."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from foldcli.data.query import Query
from foldcli.folding.job import Job
from foldcli.folding.kept import KeptPredictions
from tests.report.complexes import complex_prediction
from tests.report.samples import prediction


def test_a_ring_with_its_passes(tmp_path: Path) -> None:
    made = prediction("MKV", first=7)
    ring = replace(made.structure, cyclic=True, b_factor=made.plddt)
    early = replace(made, structure=replace(ring, positions=ring.positions + 1), recycles=0, pae=None, max_pae=None)
    made = replace(made, structure=ring, passes=[early], representations={"single": np.ones((3, 2), np.float32)})
    kept = KeptPredictions(tmp_path, Job(Query("q", "", "MKV", "q"), "key"))
    kept.write(made)
    found = kept.read(made.model, made.seed)
    assert found is not None
    np.testing.assert_equal(vars(found.passes[0].structure), vars(early.structure))
    np.testing.assert_equal(vars(found.passes[0]) | {"structure": 0}, vars(early) | {"structure": 0, "passes": []})
    np.testing.assert_equal(vars(found.structure), vars(ring))
    for name in ("plddt", "pae", "max_pae", "ptm", "recycles", "representations"):
        np.testing.assert_equal(getattr(found, name), getattr(made, name))


def test_a_complex_with_its_interfaces(tmp_path: Path) -> None:
    made = complex_prediction()
    of = made.structure
    early = replace(made, interfaces=None, pae=None, max_pae=None, recycles=0)
    made = replace(made, passes=[early])
    query = Query("q", "", of.sequence, "q", chain_lengths=of.chain_lengths)
    kept = KeptPredictions(tmp_path, Job(query, "key"))
    kept.write(made)
    found = kept.read(made.model, made.seed)
    assert found is not None and found.interfaces is not None and made.interfaces is not None
    np.testing.assert_equal(vars(found.interfaces), vars(made.interfaces))
    assert (found.iptm, found.passes[0].iptm) == (made.iptm, made.iptm)
    assert found.structure.chains == found.passes[0].structure.chains == of.chains
