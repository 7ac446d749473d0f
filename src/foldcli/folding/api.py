"""The Python interface; the command line calls it as well."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldcli.data.formats.input import read_input
from foldcli.data.query import Query
from foldcli.errors import InputError
from foldcli.timers import Timers

if TYPE_CHECKING:
    from foldcli.folding.predictor import Predictor
    from foldcli.folding.progress import Watcher
    from foldcli.folding.record import Record


def fold(
    source: str | Path | Query | Sequence[Query],
    out: str | Path = "results",
    *,
    models: str | Sequence[str] = (),
    msa: str | Path | None = None,
    weights: str | Path | None = None,
    overrides: Sequence[str] = (),
    skip_bad: bool = False,
    watcher: "Watcher | None" = None,
    timers: Timers | None = None,
    **settings: Any,
) -> "list[Record]":
    """Fold every record of the input into the folder `out` as `foldcli fold` does; their results in the same order.

    source: a sequence in capital letters, a file or folder, or queries; models: presets, where none is named the pTM
    models, or AlphaFold-Multimer's if a record is a complex; msa: an alignment or a folder of them; weights: a
    parameter file, a folder of them or `untrained`, None for the cache or the package; settings: keys of
    conf/fold.yaml, such as num_recycle=1; overrides: any setting as text, such as "model.msa.max_extra=512"; skip_bad:
    leave out records that cannot be folded, with a warning; watcher: is told of every event; timers: of the first job,
    if it began before.

    InputError, WeightsError: something is wrong, before any work; Interrupted: Ctrl-C, and finished jobs are kept. A
    job that fails raises nothing: its record has the status and the error.
    """
    queries = read_input(source, msa, skip_bad)
    # Imported once the input is known to be good: torch alone takes more than a second.
    from foldcli.folding.job_scheduler import join_ranks
    from foldcli.folding.models import resolve
    from foldcli.folding.progress import Silent
    from foldcli.folding.run import FoldRun

    sources = resolve(_listed(models), _text(weights), overrides, settings, queries)
    with join_ranks(sources[0].config):
        return FoldRun(sources, Path(out), timers or Timers()).fold(queries, watcher or Silent())


def load_model(
    name: str | Path, weights: str | Path | None = None, overrides: Sequence[str] = (), **settings: Any
) -> "Predictor":
    """Load one model; its `predict` takes a sequence or a file and returns a Prediction, writing nothing.

    name: a preset, or a file that `foldcli train` wrote; weights, overrides and settings as of `fold`.
    InputError, WeightsError: no such model, setting or file, or parameters that are not this model's.
    """
    from foldcli.folding.models import resolve
    from foldcli.folding.predictor import Predictor
    from foldcli.parallel.mesh import RankGroup

    described = weights is None and Path(name).suffix == ".safetensors"
    models, file = ([], str(name)) if described else ([str(name)], _text(weights))
    predictor = Predictor(resolve(models, file, overrides, settings), RankGroup())
    if predictor.config.gpus > 1:
        raise InputError(f"gpus={predictor.config.gpus}: a model is loaded on one device; `foldcli fold` takes several")
    predictor.load()
    return predictor


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)
