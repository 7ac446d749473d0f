"""The settings of `foldcli fold`."""

import re
from dataclasses import dataclass
from typing import ClassVar

from foldcli.byte_units import BYTES
from foldcli.config.build import is_date, require_amounts, require_choices, require_smallest
from foldcli.config.model import DEVICES, PRECISIONS, ModelConfig
from foldcli.errors import InputError

MOST_MODELS = 5


@dataclass(frozen=True)
class FoldConfig:
    """What `foldcli fold` does; conf/fold.yaml holds the defaults, and what is empty there is not set."""

    # Models
    model: ModelConfig  # its preset by name in conf/model/
    num_models: int  # how many of the five pTM models, where no model is named
    num_seeds: int  # predictions of each model
    random_seed: int  # the first seed; the others follow it
    use_dropout: bool  # whether dropout, at the model's rates in training, makes the predictions of seeds differ more
    num_recycle: int  # recycling passes after the first pass
    recycle_early_stop_tolerance: float  # angstrom: recycling ends once CA distances change by less; 0 never ends it
    cyclic: bool  # whether the last residue of each chain is bonded to the first
    initial_guess: str  # structure file whose positions the first pass recycles; empty for none
    first_residue: int  # number of the first residue in the files
    save_recycles: bool  # whether the structure of every recycling pass is written
    rank_by: str  # plddt, ptm, iptm, multimer (0.8 ipTM + 0.2 pTM), or auto: multimer for complexes, else plddt
    sort: str  # the jobs by length: length (shortest first), longest, or none (as they come)
    relax: str  # which predictions OpenMM relaxes: none, best or all

    # Alignments that the input does not bring
    msa_mode: str  # where they are searched for: server, local, none, or auto (local if `db` names databases)
    db: tuple[str, ...]  # databases: FASTA files, or MMseqs2's
    host_url: str  # the MSA server; empty for ColabFold's
    msa_rounds: int  # iterations of jackhmmer
    pair_strategy: str  # which rows a server pairs: greedy (of some sequences of a complex) or complete (of all)
    pair_mode: str  # rows of a complex's alignments that are shown: unpaired_paired, paired or unpaired

    # Templates, for models that take them
    templates: bool  # whether any are shown
    library: str  # file of the library of known structures to search; empty for the package's
    template: tuple[str, ...]  # structure files and folders to show instead
    template_hits: str  # hits of a template search (.hhr, .m8) to show instead, or a folder of them
    template_dir: str  # folder of the mmCIF files that the hits name
    max_template_date: str  # YYYY-MM-DD: structures of `template` and `template_dir` released later are not shown

    # Devices and memory
    device: str  # auto, cpu or cuda
    precision: str  # dtype of the trunk: auto (bf16 on CUDA, fp32 on the CPU), fp32 or bf16
    gpus: int  # ranks on this machine: one on each GPU, or processes on the CPU
    dap: int  # ranks that fold one protein together (Dynamic Axial Parallelism); 0: as many as a job needs
    autochunk: bool  # whether a job that does not fit into memory is computed in chunks
    memory_budget: str  # memory that a pass may take besides the parameters, such as 12GiB; empty: all that is free
    offload: str  # memory of the host, such as 128GiB, for what a GPU does not work on just then; empty: none

    # Results
    pae: str  # how predicted aligned errors are written: json, npz, or none (report and scores have them anyway)
    save_single_representations: bool
    save_pair_representations: bool
    zip: bool  # whether each job's folder is written as NAME.zip as well
    overwrite: bool  # whether finished jobs are folded again, and their files replaced

    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "rank_by": ("auto", "plddt", "ptm", "iptm", "multimer"),
        "sort": ("length", "longest", "none"),
        "msa_mode": ("auto", "server", "local", "none"),
        "pair_strategy": ("greedy", "complete"),
        "pair_mode": ("unpaired_paired", "paired", "unpaired"),
        "relax": ("none", "best", "all"),
        "pae": ("json", "npz", "none"),
        "device": DEVICES,
        "precision": PRECISIONS,
    }
    SMALLEST: ClassVar[dict[str, int]] = {
        "num_models": 1,
        "num_seeds": 1,
        "random_seed": 0,
        "num_recycle": 0,
        "first_residue": -999,
        "msa_rounds": 1,
        "gpus": 1,
        "dap": 0,
    }

    @property
    def memory_budget_bytes(self) -> int:
        """`memory_budget` in bytes, 0 where it is empty; InputError if it is not an amount of memory."""
        return _bytes(self.memory_budget, "--memory-budget")

    @property
    def offload_bytes(self) -> int:
        """`offload` in bytes, 0 where it is empty; InputError if it is not an amount of memory."""
        return _bytes(self.offload, "--offload")

    @property
    def seeds(self) -> range:
        """The seeds of the model's predictions: one where all would give the same."""
        return range(self.random_seed, self.random_seed + (self.num_seeds if self.is_random else 1))

    @property
    def is_random(self) -> bool:
        """Whether predictions differ by their seed: in what is masked, in which rows are taken, or by dropout."""
        return self.model.msa.mask_fraction > 0 or self.model.msa.max_clusters > 1 or self.drops

    @property
    def drops(self) -> bool:
        """Whether dropout is asked for, and the model has any."""
        stacks = [stack for stack in (self.model.evoformer, self.model.extra_msa) if stack.blocks]
        rates = [rate for stack in stacks for rate in (stack.msa_dropout, stack.pair_dropout)]
        return self.use_dropout and any([*rates, self.model.structure.dropout])

    @property
    def searches(self) -> bool:
        """Whether alignments are searched for."""
        return self.msa_mode in ("server", "local") or (self.msa_mode == "auto" and bool(self.db))

    @property
    def given(self) -> tuple[str, ...]:
        """What a prediction is told besides sequence, alignment and templates, as phrases."""
        ring = ("cyclic: the last residue is bonded to the first",) if self.cyclic else ()
        return (*ring, f"initial guess {self.initial_guess}") if self.initial_guess else ring

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
        if self.max_template_date and not is_date(self.max_template_date):
            raise InputError(
                f"--max-template-date {self.max_template_date}: no date as YYYY-MM-DD; give one such as 2018-04-30"
            )
        if self.max_template_date and not own:
            raise InputError("--max-template-date is for --template and --template-hits; the library has no dates")

    def __post_init__(self) -> None:
        require_choices(self, self.CHOICES)
        require_smallest(self, self.SMALLEST)
        require_amounts(self, signed=("first_residue",))
        if self.num_models > MOST_MODELS:
            raise InputError(f"configuration: 'num_models' is {self.num_models}; there are {MOST_MODELS} pTM models")
        _ = self.memory_budget_bytes, self.offload_bytes
        self._require_searches()
        self._require_templates()
        if self.gpus > 1 and self.dap and self.gpus % self.dap:
            raise InputError(f"--dap {self.dap}: does not divide --gpus {self.gpus}; take a divisor, or auto")


def _bytes(amount: str, option: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]i?B)", amount)
    if amount and not found:
        raise InputError(f"{option} {amount}: no amount of memory; give one such as 12GiB")
    return int(float(found[1]) * BYTES[found[2]]) if found else 0
