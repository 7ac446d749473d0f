"""Downloads from a local server that breaks off, refuses, truncates and sends wrong headers."""

import errno
import hashlib
import shutil
import socket
import threading
import time
from typing import IO, Any

import pytest

from foldcli.errors import WeightsError
from foldcli.weights import download as module
from foldcli.weights.download import Part, Patience, download

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SUM = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(timeout=5.0, failures=3, pause=0.001)


def test_resumes_after_a_cut(site, tmp_path):
    site.content, site.cuts = CONTENT, [300_000]
    heard = []
    target = tmp_path / "new" / "file.tar"
    found = download(site.url + "/file.tar", target, progress=lambda *at: heard.append(at), patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert found == SUM
    assert "Range" not in site.asked[0]
    assert site.asked[1]["Range"] == "bytes=300000-"
    assert site.asked[1]["If-Range"] == '"one"'
    assert heard[-1] == (len(CONTENT), len(CONTENT))
    assert sorted(path.name for path in target.parent.iterdir() if path.suffix != ".lock") == ["file.tar"]


def test_resumes_in_a_later_run(site, tmp_path):
    site.content, site.cuts = CONTENT, [1000]
    target = tmp_path / "file.tar"
    with pytest.raises(WeightsError, match=r"1\.0 kB of 1\.0 MB are kept in .*part, run the command again"):
        download(site.url + "/file.tar", target, patience=Patience(5.0, failures=1))
    download(site.url + "/file.tar", target, expected=SUM.upper(), patience=QUICK)
    assert site.asked[-1]["Range"] == "bytes=1000-"
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("heeds_version", [True, False])
def test_starts_again_where_the_file_has_changed(site, tmp_path, heeds_version):
    site.content, site.cuts, site.heeds_version = b"old" * 1000, [2000], heeds_version
    target = tmp_path / "file.tar"
    with pytest.raises(WeightsError):
        download(site.url + "/file.tar", target, patience=Patience(5.0, failures=1))
    site.content, site.etag = CONTENT, '"two"'
    download(site.url + "/file.tar", target, patience=QUICK)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(("ranges", "etag"), [(False, '"one"'), (True, "")])
def test_starts_again_without_ranges_or_version(site, tmp_path, ranges, etag):
    site.content, site.cuts, site.ranges, site.etag = CONTENT, [500_000], ranges, etag
    target = tmp_path / "file.tar"
    download(site.url + "/file.tar", target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert len(site.asked) == 2
    assert ("Range" in site.asked[1]) == bool(etag)


def test_truncated_again_and_again_keeps_the_part(site, tmp_path, one_line):
    site.content, site.cuts = CONTENT, [1000, 0, 0, 0, 0]
    with pytest.raises(WeightsError) as caught:
        download(site.url + "/file.tar", tmp_path / "file.tar", patience=QUICK)
    assert f"ended at byte 1000 of {len(CONTENT)}" in one_line(caught.value)
    assert len(site.asked) == 3
    assert (tmp_path / "file.tar.part").read_bytes() == CONTENT[:1000]
    assert not (tmp_path / "file.tar").exists()


def test_wrong_sum_installs_nothing(site, tmp_path, one_line):
    site.content = CONTENT
    with pytest.raises(WeightsError) as caught:
        download(site.url + "/file.tar", tmp_path / "file.tar", expected="0" * 64, patience=QUICK)
    assert f"SHA-256 is {SUM}, expected 000" in one_line(caught.value)
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".tar", ".part", ".json")] == []


def test_server_errors_are_retried_and_refusals_are_not(site, tmp_path, one_line):
    site.content, site.statuses = CONTENT, [503, 500]
    download(site.url + "/file.tar", tmp_path / "file.tar", patience=QUICK)
    assert len(site.asked) == 3
    site.statuses = [404]
    with pytest.raises(WeightsError) as caught:
        download(site.url + "/other.tar", tmp_path / "other.tar", patience=QUICK)
    assert "404 Not Found" in one_line(caught.value)
    assert len(site.asked) == 4


def test_refused_connection_says_what_to_bring(tmp_path, one_line):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(WeightsError) as caught:
        download(f"http://127.0.0.1:{port}/alphafold.tar", tmp_path / "alphafold.tar")
    assert "refused" in one_line(caught.value)
    assert "bring alphafold.tar" in str(caught.value)
    assert "`foldcli weights import alphafold.tar`" in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "http://[x/y.tar", "x.tar"])
def test_other_addresses_are_refused(url, tmp_path):
    with pytest.raises(WeightsError, match="not an"):
        download(url, tmp_path / "x", patience=QUICK)


def test_silent_server_runs_into_the_time_out(site, tmp_path):
    site.content, site.gate = CONTENT, threading.Event()
    with pytest.raises(WeightsError, match="timed out"):
        download(site.url + "/file.tar", tmp_path / "file.tar", patience=Patience(timeout=0.1, failures=2, pause=0.001))
    while len(site.asked) < 2:  # on a busy machine the server may notice later than the client gives up
        time.sleep(0.01)
    site.gate.set()


def test_too_little_space_is_said_before_the_transfer(site, tmp_path, monkeypatch, one_line):
    site.content = CONTENT
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1_500_000, 1_500_000)
    )
    with pytest.raises(WeightsError) as caught:
        download(site.url + "/file.tar", tmp_path / "file.tar", reserve=1.0, patience=QUICK)
    assert "needs 2.1 MB, 1.5 MB are free" in one_line(caught.value)
    assert len(site.asked) == 1
    download(site.url + "/file.tar", tmp_path / "file.tar", patience=QUICK)


class FullDisk:
    """A file on a disk with room for a few more bytes."""

    def __init__(self, handle: IO[bytes], room: int) -> None:
        self.handle, self.room = handle, room

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *error: object) -> None:
        self.handle.close()

    def write(self, block: Any) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.handle.write(block[: self.room])
        self.room -= written
        return written


def test_disk_full_midway_keeps_the_part(site, tmp_path, monkeypatch, one_line):
    site.content = CONTENT
    opened = Part.open
    monkeypatch.setattr(Part, "open", lambda part: FullDisk(opened(part), 400_000))
    with pytest.raises(WeightsError) as caught:
        download(site.url + "/file.tar", tmp_path / "file.tar", patience=QUICK)
    assert "the disk is full, 648.6 kB of 1.0 MB are missing" in one_line(caught.value)
    assert (tmp_path / "file.tar.part").stat().st_size == 400_000
    monkeypatch.setattr(Part, "open", opened)
    download(site.url + "/file.tar", tmp_path / "file.tar", expected=SUM, patience=QUICK)
    assert site.asked[-1]["Range"] == "bytes=400000-"


def test_two_at_once_make_one_transfer(site, tmp_path, caplog):
    site.content, site.gate = CONTENT, threading.Event()
    target, sums = tmp_path / "file.tar", []
    waiting = threading.Event()
    threads = [threading.Thread(target=lambda: sums.append(download(site.url + "/file.tar", target))) for _ in "ab"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.log, "warning", lambda *_: waiting.set())
        for thread in threads:
            thread.start()
        assert waiting.wait(10)  # one holds the lock and its body is held back, the other has found it held
        site.gate.set()
        for thread in threads:
            thread.join(10)
    assert sums == [SUM, SUM]
    assert len(site.asked) == 1
