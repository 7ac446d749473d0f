"""Samples are the same for any number of workers and ranks and from any step, also with unreadable chains."""

import multiprocessing
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from foldcli.config import GuardConfig, ModelConfig, MsaConfig, SampleConfig, SourceConfig, TemplateConfig, TrainConfig
from foldcli.data.chain import Chain
from foldcli.data.training.loader import Loader, validation_samples
from foldcli.data.training.packed_tensors import pack
from foldcli.data.training.sample import Sample
from foldcli.data.training.shards import ShardSource
from foldcli.data.training.workers import stream
from foldcli.errors import FoldcliError, InputError

SHARDS = SourceConfig(kind="chains", shards=str(Path(__file__).parents[2] / "golden" / "chains.npz"))
CONFIG = TrainConfig(
    name="test",
    model=ModelConfig("small", template=TemplateConfig(), msa=MsaConfig(max_clusters=1, max_extra=1)),
    train=SHARDS,
    validation=None,
    sample=SampleConfig(crop=24, max_recycle=2, alignment_share=0.5),
    steps=6,
    batch_size=8,
    micro_batch=2,
    workers=0,
)


class Flawed(ShardSource):
    """Every third chain cannot be read."""

    def load(self, position: int) -> Chain:
        if position % 3 == 0:
            raise InputError(f"chain {position} is cut off")
        return super().load(position)

    def __reduce__(self):
        return Flawed, self._origin


@pytest.fixture(scope="module")
def source() -> ShardSource:
    return ShardSource(SHARDS, "train")


def steps(loader: Loader, first: int = 0, count: int = 6) -> list[list[Sample]]:
    loader.start(first)
    taken = [loader.step() for _ in range(count)]
    loader.close()
    return taken


def bits(sample: Sample) -> tuple[tuple[str, ...], bytes]:
    return sample.names, pack(sample).buffer.numpy().tobytes()


def all_bits(taken: list[list[Sample]]) -> list[list[tuple[tuple[str, ...], bytes]]]:
    return [[bits(sample) for sample in samples] for samples in taken]


@pytest.fixture(scope="module")
def plain(source) -> list[list[Sample]]:
    return steps(Loader(source, CONFIG))


def test_batches_have_their_size_and_recycling_count(plain):
    assert [len(samples) for samples in plain] == [4] * 6
    for samples in plain:
        assert {sample.labels.positions.shape[0] for sample in samples} == {2}
        assert len({len(sample.passes) for sample in samples}) == 1
    assert {len(samples[0].passes) for samples in plain} <= {1, 2, 3}
    assert len({bits(sample) for samples in plain for sample in samples}) == 24


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker:UserWarning")  # more than there are cores
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(source, plain, workers):
    assert all_bits(steps(Loader(source, replace(CONFIG, workers=workers)))) == all_bits(plain)


def test_ranks_share_what_one_rank_sees(source, plain):
    shares = [all_bits(steps(Loader(source, CONFIG, rank, 2))) for rank in range(2)]
    assert [first + second for first, second in zip(*shares, strict=True)] == all_bits(plain)


def test_any_step_can_be_the_first(source, plain):
    assert all_bits(steps(Loader(source, CONFIG), first=4, count=2)) == all_bits(plain[4:])


def test_other_seed_other_samples(source, plain):
    assert all_bits(steps(Loader(source, replace(CONFIG, seed=1)))) != all_bits(plain)


def test_unreadable_chains_are_replaced_named_once_and_counted(source, plain, caplog):
    config = replace(CONFIG, guard=GuardConfig(bad_entries=0.9))
    loader = Loader(Flawed(SHARDS, "train"), config)
    taken = steps(loader)
    bad = {entry.name for entry in source.entries[::3]}
    drawn = [name for samples in taken for sample in samples for name in sample.names]
    assert len(drawn) == 48 and bad.isdisjoint(drawn)
    assert loader.drawn == 48 + loader.bad
    assert sorted(record.args[0] for record in caplog.records) == sorted(bad)
    # readable chains stay in place
    kept = [name for samples in plain for sample in samples for name in sample.names]
    assert all(a == b for a, b in zip(kept, drawn, strict=True) if a not in bad)


def test_too_many_unreadable_chains_end_the_run(caplog):
    loader = Loader(Flawed(SHARDS, "train"), replace(CONFIG, steps=100))
    with pytest.raises(FoldcliError, match=r"of 1\d\d chains drawn cannot be read.*'guard.bad_entries'.*is cut off"):
        steps(loader, count=100)


class Unreadable(ShardSource):
    def load(self, position: int) -> Chain:
        raise InputError("the disk is gone")


def test_nothing_readable_ends_the_run_at_once(caplog):
    loader = Loader(Unreadable(SHARDS, "train"), replace(CONFIG, guard=GuardConfig(bad_entries=1.0)))
    with pytest.raises(FoldcliError, match=r"100 of them in a row.*the disk is gone"):
        steps(loader)


def test_batch_that_cannot_be_split_is_refused(source):
    with pytest.raises(InputError, match="'batch_size' is 8; expected a multiple of 6"):
        Loader(source, CONFIG, 0, 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_takes_whole_chains_in_order(source, workers):
    config = replace(CONFIG, validation_chains=5, workers=workers)
    samples = list(validation_samples(source, config, alone=False))
    assert [sample.names[0] for sample in samples] == [entry.name for entry in source.entries[:5]]
    for sample, entry in zip(samples, source.entries, strict=False):
        assert sample.labels.positions.shape == (1, entry.length, 37, 3)
        assert len(sample.passes) == 3
    odd = list(validation_samples(source, config, alone=True, rank=1, ranks=2))
    assert [sample.names[0] for sample in odd] == [entry.name for entry in source.entries[1:5:2]]
    assert not torch.equal(odd[0].passes[0].msa_feat, samples[1].passes[0].msa_feat)


def slow_first(key: int) -> int:
    if key == 0:
        time.sleep(0.5)
    return key


def test_order_does_not_depend_on_timing():
    assert list(stream(slow_first, range(12), 2)) == list(range(12))


def broken(key: int) -> int:
    return 1 // (key - 3)


def dying(key: int) -> int:
    if key == 3:
        os._exit(9)
    return key


def test_exception_in_a_worker_is_raised_with_its_place():
    with pytest.raises(ZeroDivisionError, match="in broken"):
        list(stream(broken, range(6), 1))


def test_dead_worker_is_named():
    with pytest.raises(FoldcliError, match=r"a loader process died.*'workers'"):
        list(stream(dying, range(6), 2))


def test_closing_ends_the_workers():
    before = set(multiprocessing.active_children())
    items = stream(slow_first, range(1, 1000), 2)
    assert next(items) == 1
    assert len(set(multiprocessing.active_children()) - before) == 2
    items.close()
    assert not set(multiprocessing.active_children()) - before


PARENT = """
import multiprocessing
from foldcli.data.training.workers import stream
if __name__ == "__main__":
    items = stream(abs, range(1000), 2)
    next(items)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    input()
"""


def test_workers_do_not_outlive_a_killed_run(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        workers = [int(word) for word in parent.stdout.readline().split()]
        assert len(workers) == 2 and all(map(alive, workers))
        parent.kill()
    for _ in range(100):
        time.sleep(0.1)
        if not any(map(alive, workers)):
            return
    raise AssertionError("workers still run ten seconds after their parent's end")


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
