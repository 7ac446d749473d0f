"""Open the chain source that a configuration names."""

from collections.abc import Callable

from foldcli.config import SourceConfig
from foldcli.config.build import is_date
from foldcli.data.training.chain_source import ChainSource, describe_dropped
from foldcli.data.training.openfold_layout import OpenFoldSource
from foldcli.data.training.shards import ShardSource
from foldcli.errors import InputError

KINDS: dict[str, Callable[[SourceConfig, str], ChainSource]] = {"chains": ShardSource, "openfold": OpenFoldSource}


def open_source(config: SourceConfig, key: str = "train") -> ChainSource:
    """The chains that a configuration names; `key` is the configuration's own place, for messages.

    InputError names the key: an unknown kind, a missing file or folder, filters that leave nothing.
    """
    if config.kind not in KINDS:
        raise InputError(f"'{key}.kind' is '{config.kind}', expected {' or '.join(KINDS)}")
    if config.max_date and not is_date(config.max_date):
        raise InputError(f"'{key}.max_date' is '{config.max_date}', expected YYYY-MM-DD")
    source = KINDS[config.kind](config, key)
    if not source.entries:
        raise InputError(f"'{key}': no chain is left: {describe_dropped(source.dropped) or 'there was none'}")
    return source
