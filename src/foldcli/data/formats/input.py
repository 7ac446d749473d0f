"""Turn what the user gives to fold into queries: a file or folder, a sequence, or queries."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from foldcli.config import ModelConfig
from foldcli.data.formats.attach import attach_alignments
from foldcli.data.formats.fasta import read_queries, with_unique_names
from foldcli.data.formats.letters import chains_of
from foldcli.data.query import Query, lengths_of
from foldcli.errors import InputError
from foldcli.protein.residues import LETTERS_X


def read_input(
    source: str | Path | Query | Sequence[Query], msa: str | Path | None = None, skip_bad: bool = False
) -> list[Query]:
    """Return the queries of a file or folder, or those given, with their alignments from `msa`.

    A `str` of only capital one-letter codes is a sequence, and with ':' those of a complex's chains; any other is a
    file name. skip_bad and InputError as in `read_queries` and `attach_alignments`.
    """
    if isinstance(source, str) and source and set(source) <= {*LETTERS_X, ":"}:
        chains, notes = chains_of(source, "the sequence")
        source = Query("query", "", "".join(chains), "the sequence", None, notes, lengths_of(chains))
    if source == "":
        raise InputError("the sequence is empty")
    if isinstance(source, str) and not Path(source).exists():
        raise InputError(f"{source}: no such file, and no sequence of capital one-letter codes")
    if isinstance(source, str | Path):
        queries = read_queries(Path(source), skip_bad)
    else:
        queries = with_unique_names([source] if isinstance(source, Query) else source)
    return queries if msa is None else attach_alignments(queries, Path(msa))


def require_foldable(query: Query, models: Iterable[ModelConfig]) -> None:
    """Raise InputError for a record of unknown residues only, or a complex where a model folds single chains."""
    if set(query.sequence) == {"X"}:
        raise InputError(f"{query.source} ({query.name}) has only X; give at least one residue that is known")
    if query.chain_lengths and (single := [model.name for model in models if not model.complexes]):
        raise InputError(
            f"{query.source} ({query.name}) is a complex of {len(query.chain_lengths)} chains, and {single[0]} folds "
            "single chains; take a model of complexes, such as --model model_1_multimer_v3"
        )
