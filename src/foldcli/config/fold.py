"""What `foldcli fold` may be asked for."""

import re
from dataclasses import dataclass
from typing import ClassVar

from foldcli.byte_units import BYTES
from foldcli.config.build import require_choices, require_smallest
from foldcli.config.model import DEVICES, PRECISIONS, ModelConfig
from foldcli.errors import InputError


@dataclass(frozen=True)
class FoldConfig:
    """What `foldcli fold` does (conf/fold.yaml holds the defaults).

    model: the preset of one model, by its own name; rank_by: plddt or ptm; sort: length (shortest first), longest or
    none; msa_mode: auto, server, local or none: where alignments are searched for that the input does not bring, auto
    being local where there are databases `db`, each FASTA or MMseqs2's; host_url: the server, ColabFold's where it is
    empty; msa_rounds: of jackhmmer;
    device: auto, cpu or cuda; precision: auto, fp32 or bf16; recycle_early_stop_tolerance in angstrom;
    relax: none, best or all: which predictions OpenMM relaxes;
    templates: whether models that take them are shown any, from `library`, the package's where none is named; or from
    `template`, files and folders, and from `template_hits`, whose structures lie in `template_dir`, both up to
    max_template_date, YYYY-MM-DD, where there is one;
    gpus: ranks of this machine, of which dap fold one protein together, 0 for as many as it needs; autochunk: whether
    a job that does not fit whole is computed in slices; memory_budget: what a pass may take, such as 12GiB, beside the
    parameters, and all that is free where it is empty.
    """

    model: ModelConfig
    num_models: int
    num_seeds: int
    random_seed: int
    num_recycle: int
    recycle_early_stop_tolerance: float
    rank_by: str
    sort: str
    msa_mode: str
    db: tuple[str, ...]
    host_url: str
    msa_rounds: int
    relax: str
    device: str
    precision: str
    templates: bool
    library: str
    template: tuple[str, ...]
    template_hits: str
    template_dir: str
    max_template_date: str
    gpus: int
    dap: int
    autochunk: bool
    memory_budget: str
    save_single_representations: bool
    save_pair_representations: bool
    overwrite: bool

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "rank_by": ("plddt", "ptm"),
        "sort": ("length", "longest", "none"),
        "msa_mode": ("auto", "server", "local", "none"),
        "relax": ("none", "best", "all"),
        "device": DEVICES,
        "precision": PRECISIONS,
    }
    SMALLEST: ClassVar[dict[str, int]] = {
        "num_models": 1,
        "num_seeds": 1,
        "random_seed": 0,
        "num_recycle": 0,
        "msa_rounds": 1,
        "gpus": 1,
        "dap": 0,
    }

    @property
    def memory_budget_bytes(self) -> int:
        """The budget in bytes, 0 where there is none; InputError if it is no amount of memory."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]i?B)", self.memory_budget)
        if self.memory_budget and not found:
            raise InputError(f"--memory-budget {self.memory_budget}: no amount of memory; give one such as 12GiB")
        return int(float(found[1]) * BYTES[found[2]]) if found else 0

    @property
    def searches(self) -> bool:
        """Whether alignments are searched for."""
        return self.msa_mode in ("server", "local") or (self.msa_mode == "auto" and bool(self.db))

    def _require_searches(self) -> None:
        if self.msa_mode == "local" and not self.db:
            raise InputError("--msa-mode local: there is no database; name one with --db")
        if self.msa_mode in ("server", "none") and self.db:
            raise InputError(f"--db {self.db[0]}: nothing searches it with --msa-mode {self.msa_mode}; leave one out")
        if self.msa_mode != "server" and self.host_url:
            raise InputError(f"--host-url {self.host_url}: no server is asked without --msa-mode server; add it")

    def _require_templates(self) -> None:
        own = bool(self.template or self.template_hits)
        if bool(self.template_hits) != bool(self.template_dir):
            raise InputError("--template-hits and --template-dir go together; name the hits and their mmCIF files")
        if self.library and own:
            raise InputError(f"--library {self.library}: templates are named as well; leave one of the two out")
        if self.max_template_date and not own:
            raise InputError("--max-template-date is for --template and --template-hits; known folds have no dates")
        if self.max_template_date and not re.fullmatch(r"\d{4}-\d\d-\d\d", self.max_template_date):
            raise InputError(f"--max-template-date {self.max_template_date}: no date; give one such as 2018-04-30")

    def __post_init__(self) -> None:
        require_choices(self, self.CHOICES)
        require_smallest(self, self.SMALLEST)
        _ = self.memory_budget_bytes
        self._require_searches()
        self._require_templates()
        if self.gpus > 1 and self.dap and self.gpus % self.dap:
            raise InputError(f"--dap {self.dap}: does not divide --gpus {self.gpus}; take a divisor, or auto")
