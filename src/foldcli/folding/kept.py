"""Predictions that a job keeps as it makes them, so that an interrupted job goes on with those that are left."""

import json
import shutil
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldcli.files import atomic_file
from foldcli.folding.job import Job
from foldcli.protein.structure import Interfaces, Prediction, Structure

REPRESENTATION = "representation_"
PASS = "pass_"
INTERFACES = "interfaces_"


class KeptPredictions:
    """The folder `.NAME.kept` with a file for each model and seed; it goes once the job's own folder is whole."""

    def __init__(self, out: Path, job: Job) -> None:
        self.folder = out / f".{job.query.name}.kept"
        self.key = job.key
        self.query = job.query

    def write(self, prediction: Prediction) -> None:
        """Keep a prediction; FoldcliError if it cannot be written."""
        self.folder.mkdir(exist_ok=True)
        structure = prediction.structure
        numbers = {name: getattr(prediction, name) for name in ("recycles", "ptm", "iptm", "max_pae")}
        numbers |= {"cyclic": structure.cyclic, "passes": [[one.ptm, one.iptm] for one in prediction.passes]}
        arrays = {"numbers": np.asarray(json.dumps(numbers | {"key": self.key})), "plddt": prediction.plddt}
        arrays |= {name: getattr(structure, name) for name in ("positions", "mask", "residue_index")}
        arrays |= {} if prediction.pae is None else {"pae": prediction.pae}
        if (between := prediction.interfaces) is not None:
            arrays |= {INTERFACES + one.name: np.asarray(getattr(between, one.name)) for one in fields(between)}
        for one in prediction.passes:
            arrays |= {f"{PASS}{one.recycles}": one.structure.positions, f"{PASS}{one.recycles}_plddt": one.plddt}
        arrays |= {REPRESENTATION + name: array for name, array in prediction.representations.items()}
        with atomic_file(self._path(prediction.model, prediction.seed)) as file:
            np.savez(file, allow_pickle=False, **arrays)

    def read(self, model: str, seed: int) -> Prediction | None:
        """The prediction of a model and seed; None if none was made from the same input, parameters and settings."""
        try:
            with np.load(self._path(model, seed), allow_pickle=False) as arrays:
                found = dict(arrays)
            numbers = json.loads(str(found.pop("numbers")))
            return self._prediction(model, seed, numbers, found) if numbers.pop("key") == self.key else None
        except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile):  # no such file, or another program's
            return None

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prediction(
        self, model: str, seed: int, numbers: dict[str, Any], arrays: dict[str, NDArray[Any]]
    ) -> Prediction:
        taken = {name: arrays.pop(name) for name in ("positions", "mask", "residue_index", "plddt")}
        structure = Structure(
            self.query.sequence, taken["positions"], taken["mask"], taken["residue_index"], b_factor=taken["plddt"],
            cyclic=numbers.pop("cyclic"), chain_lengths=self.query.chain_lengths,
        )  # fmt: skip
        pae, passes = arrays.pop("pae", None), list[Prediction]()
        for number, (ptm, iptm) in enumerate(numbers.pop("passes")):
            positions, plddt = arrays.pop(f"{PASS}{number}"), arrays.pop(f"{PASS}{number}_plddt")
            of_pass = replace(structure, positions=positions, b_factor=plddt)
            passes.append(Prediction(of_pass, plddt, model, seed, recycles=number, ptm=ptm, iptm=iptm))
        if self.query.chain_lengths and pae is not None:
            between: dict[str, Any] = {one.name: arrays.pop(INTERFACES + one.name) for one in fields(Interfaces)}
            numbers["interfaces"] = Interfaces(**between | {"clash": bool(between["clash"])})
        rest = {name.removeprefix(REPRESENTATION): array for name, array in arrays.items()}
        known = {"pae": pae, "representations": rest, "passes": passes, **numbers}
        return Prediction(structure, taken["plddt"], model, seed, **known)

    def _path(self, model: str, seed: int) -> Path:
        return self.folder / f"{model}_seed_{seed:03d}.npz"
