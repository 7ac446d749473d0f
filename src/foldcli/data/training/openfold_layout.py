"""Training data in OpenFold's layout: a folder of mmCIF files, and a folder of alignments, `2q2k_A/*.a3m|*.sto`."""

from pathlib import Path

from foldcli.config import SourceConfig
from foldcli.data.chain import Chain
from foldcli.data.formats.mmcif import read_mmcif
from foldcli.data.formats.searches import alignment_files, join_alignments
from foldcli.data.training.chain_source import Entry, filter_entries
from foldcli.data.training.index import IndexedChain, read_index
from foldcli.errors import InputError


class OpenFoldSource:
    """The chains of an index, read from mmCIF files on demand (a `chain_source.ChainSource`)."""

    def __init__(self, config: SourceConfig, key: str) -> None:
        self._origin = config, key
        self._structures = _folder(config.structures, f"{key}.structures")
        self._alignments = _folder(config.alignments, f"{key}.alignments")
        if not config.index:
            raise InputError(f"'{key}.index' is empty; make one with `foldcli data index`")
        try:
            records = read_index(Path(config.index))
        except InputError as error:
            raise InputError(f"'{key}.index': {error}") from None
        everything = [record.entry for record in records]
        taken, self.dropped = filter_entries(everything, config)
        self.entries: list[Entry] = [everything[k] for k in taken]
        self._records: list[IndexedChain] = [records[k] for k in taken]

    def __reduce__(self) -> tuple[type["OpenFoldSource"], tuple[SourceConfig, str]]:
        """Pickle the configuration only; the other process reads the index itself."""
        return OpenFoldSource, self._origin

    def load(self, position: int) -> Chain:
        record = self._records[position]
        path = self._structures / record.file
        deposition = read_mmcif(path)
        polymer = next((each for each in deposition.polymers if each.chain == record.chain), None)
        if polymer is None or polymer.sequence != record.sequence:
            raise InputError(f"{path}: chain {record.chain} is not as indexed; run `foldcli data index` again")
        files = alignment_files(self._alignments, record.alignment) if record.alignment else []
        alignment = join_alignments(files, record.sequence) if files else None
        return deposition.chain(polymer, alignment)


def _folder(name: str, key: str) -> Path:
    if not name:
        raise InputError(f"'{key}' is empty; name the folder")
    if not Path(name).is_dir():
        raise InputError(f"'{key}': {name}: no such folder")
    return Path(name)
