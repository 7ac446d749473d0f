"""The cache folder: what is imported, what is refused, and damage that is noticed later."""

import hashlib
import shutil
import tarfile

import pytest
import torch

from foldcli.cache_folder import cache_folder
from foldcli.errors import WeightsError
from foldcli.weights import importing
from foldcli.weights.cache import PRESETS, find, listing, params_folder, require, verify
from foldcli.weights.files import write_safetensors
from foldcli.weights.importing import import_file
from tests.weights.conftest import npz_bytes, tar_bytes

OFFICIAL = {f"params_{preset}.npz": npz_bytes(seed) for seed, preset in enumerate(PRESETS)}
EXTRA = {"LICENSE": b"CC BY 4.0", "params_model_1_multimer_v2.npz": npz_bytes(99)}


def in_folder() -> set[str]:
    return {path.name for path in params_folder().iterdir()} - {".lock"} if params_folder().exists() else set()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "home"
    monkeypatch.delenv("FOLDCLI_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "foldcli"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "foldcli"


@pytest.mark.parametrize("prefix", ["", "./", "params/"])
def test_official_archive_is_imported(tmp_path, prefix):
    path = tmp_path / "alphafold.tar"
    path.write_bytes(tar_bytes({prefix + name: content for name, content in (OFFICIAL | EXTRA).items()}))
    heard = []
    entries = import_file(path, source="http://example.org/a.tar", progress=lambda *at: heard.append(at))
    assert in_folder() == {*OFFICIAL, "LICENSE", "manifest.json"}
    assert [entry.preset for entry in entries] == list(PRESETS)
    assert heard[-1][0] == heard[-1][1] > 0
    for entry, content in zip(listing(), OFFICIAL.values(), strict=True):
        assert entry.present
        assert entry.sha256 == hashlib.sha256(content).hexdigest()
        assert (entry.size, entry.source, entry.license) == (len(content), "http://example.org/a.tar", "CC BY 4.0")
        assert require(entry.preset).read_bytes() == content
    assert verify() == []


def test_only_the_named_presets_are_taken(tmp_path):
    path = tmp_path / "alphafold.tar"
    path.write_bytes(tar_bytes(OFFICIAL))
    import_file(path, ["model_2_ptm"])
    assert in_folder() == {"params_model_2_ptm.npz", "manifest.json"}
    path.write_bytes(tar_bytes({"params_model_1.npz": npz_bytes()}))
    with pytest.raises(WeightsError, match=r"holds no parameters for model_3; it has model_1"):
        import_file(path, ["model_1", "model_3"])
    with pytest.raises(WeightsError, match="no preset 'model_6'"):
        import_file(path, ["model_6"])


@pytest.mark.parametrize(
    "member",
    [
        special("../params_model_2.npz", tarfile.REGTYPE),
        special("/params_model_2.npz", tarfile.REGTYPE),
        special("x/../../params_model_2.npz", tarfile.REGTYPE),
        special("params_model_2.npz", tarfile.SYMTYPE, "/etc/passwd"),
        special("params_model_2.npz", tarfile.LNKTYPE, "params_model_1.npz"),
        special("params_model_2.npz", tarfile.CHRTYPE),
        special("params_model_2.npz", tarfile.FIFOTYPE),
        special("params", tarfile.SYMTYPE, "/etc"),
        special("params_model_1.npz", tarfile.REGTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type.decode()}",
)
def test_unsafe_archive_is_refused_whole(tmp_path, member, one_line):
    path = tmp_path / "evil.tar"
    path.write_bytes(tar_bytes({"params_model_1.npz": npz_bytes()}, member))
    with pytest.raises(WeightsError) as caught:
        import_file(path)
    assert str(path) in one_line(caught.value)
    assert in_folder() == set()
    assert {entry.name for entry in tmp_path.iterdir()} == {"evil.tar", "home"}
    assert {entry.name for entry in (tmp_path / "home").iterdir()} == {"params"}


def test_truncated_archive_leaves_nothing(tmp_path, one_line):
    whole, path = tar_bytes(OFFICIAL), tmp_path / "alphafold.tar"
    member_ends = len(tar_bytes({"params_model_1.npz": npz_bytes()}).rstrip(b"\0")) // 512 * 512 + 512
    for size in (0, 100, 512, 700, member_ends, member_ends + 512, 5000):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError) as caught:
            import_file(path)
        assert "truncated" in one_line(caught.value), size
        assert in_folder() == set()


def test_damaged_member_leaves_nothing(tmp_path, one_line):
    path = tmp_path / "alphafold.tar"
    path.write_bytes(tar_bytes(OFFICIAL | {"params_model_5_ptm.npz": npz_bytes()[:-40]}))
    with pytest.raises(WeightsError) as caught:
        import_file(path)
    assert f"{path}: params_model_5_ptm.npz: truncated" in one_line(caught.value)
    assert in_folder() == set()


def test_folder_and_single_files_are_imported(tmp_path):
    data = tmp_path / "alphafold_data" / "params"
    data.mkdir(parents=True)
    (data / "params_model_1.npz").write_bytes(npz_bytes(1))
    (data / "params_model_1_multimer_v3.npz").write_bytes(npz_bytes(2))
    assert [entry.preset for entry in import_file(data.parent)] == ["model_1", "model_1_multimer_v3"]
    write_safetensors(tmp_path / "mine.safetensors", {"a": torch.zeros(2)}, {"preset": "model_2"})
    assert import_file(tmp_path / "mine.safetensors")[0].file == "params_model_2.safetensors"
    torch.save({"a": torch.zeros(2)}, tmp_path / "finetuning_ptm_1.pt")
    with pytest.raises(WeightsError, match="does not say which preset it is; give --model"):
        import_file(tmp_path / "finetuning_ptm_1.pt")
    assert import_file(tmp_path / "finetuning_ptm_1.pt", ["model_2_ptm"])[0].license == ""
    (tmp_path / "finetuning_ptm_1.pt").rename(tmp_path / "model_3.ckpt")
    assert import_file(tmp_path / "model_3.ckpt")[0].file == "params_model_3.ckpt"
    (tmp_path / "latest").write_text("step10")
    (tmp_path / "step10").mkdir()
    torch.save({"module": {"a": torch.zeros(2)}}, tmp_path / "step10" / "mp_rank_00_model_states.pt")
    assert import_file(tmp_path, ["model_4"])[0].file == "params_model_4.pt"
    present = {entry.preset for entry in listing() if entry.present}
    assert present == {"model_1", "model_1_multimer_v3", "model_2", "model_2_ptm", "model_3", "model_4"}
    assert verify() == []


@pytest.mark.parametrize("name", ["none.tar", "empty", "text.tar", "text.npz", "text.pt", "text.safetensors", "a.npz"])
def test_what_holds_no_parameters_is_refused(tmp_path, name, one_line):
    (tmp_path / "empty").mkdir()
    if name.startswith("text"):
        (tmp_path / name).write_text("not what its name says")
    (tmp_path / "a.npz").write_bytes(npz_bytes())
    with pytest.raises(WeightsError) as caught:
        import_file(tmp_path / name, [] if name in ("empty", "none.tar", "a.npz", "text.tar") else ["model_1"])
    assert one_line(caught.value).startswith(f"{tmp_path / name}: ")
    assert in_folder() == set()


def test_other_parameters_are_replaced_on_request_only(tmp_path):
    path, other = tmp_path / "params_model_1.npz", tmp_path / "other.safetensors"
    path.write_bytes(npz_bytes(1))
    import_file(path)
    write_safetensors(other, {"a": torch.zeros(2)}, {"preset": "model_1"})
    with pytest.raises(WeightsError, match="other parameters for model_1 are there"):
        import_file(other)
    assert in_folder() == {"params_model_1.npz", "manifest.json"}
    import_file(other, overwrite=True)
    assert in_folder() == {"params_model_1.safetensors", "manifest.json"}
    assert find("model_1") == params_folder() / "params_model_1.safetensors"
    assert verify() == []


def test_verify_finds_a_flipped_byte_and_an_import_mends_it(tmp_path):
    path = tmp_path / "params_model_1.npz"
    path.write_bytes(npz_bytes(1))
    import_file(path)
    kept = require("model_1")
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    (problem,) = verify()
    assert problem.path == kept
    assert "damaged: SHA-256" in problem.reason
    import_file(path)
    assert verify() == []
    kept.write_bytes(kept.read_bytes()[:-1])
    assert "bytes" in verify()[0].reason
    kept.unlink()
    assert "recorded, but gone" in verify()[0].reason


def test_a_file_put_there_by_hand_is_found_and_recorded_in_place():
    place = params_folder() / "params_model_1.npz"
    place.parent.mkdir(parents=True)
    place.write_bytes(npz_bytes(1))
    assert listing()[0].present
    assert "no sum was ever recorded" in verify()[0].reason
    import_file(place)
    assert verify() == []
    place.write_bytes(npz_bytes(2))  # importing a changed file in place must not make it valid
    with pytest.raises(WeightsError, match="other parameters for model_1"):
        import_file(params_folder())


@pytest.mark.parametrize(
    "text", ["", "[]", '{"files": [{"preset": "model_1", "file": "../x.npz"}]}', '{"files": [{"size": 1}]}']
)
def test_damaged_manifest_is_named(text, one_line):
    params_folder().mkdir(parents=True)
    (params_folder() / "manifest.json").write_text(text)
    with pytest.raises(WeightsError) as caught:
        listing()
    assert f"{params_folder() / 'manifest.json'}: not a manifest" in one_line(caught.value)


def test_no_space_leaves_nothing(tmp_path, monkeypatch, one_line):
    path, archive = tmp_path / "params_model_1.npz", tmp_path / "alphafold.tar"
    path.write_bytes(npz_bytes())
    archive.write_bytes(tar_bytes(OFFICIAL))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 900, 100))
        for source in (path, archive):
            with pytest.raises(WeightsError, match=r"needs .*, 100 bytes are free"):
                import_file(source)

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(importing, "copy", full)
    monkeypatch.setattr(importing.archive, "copy", full)
    for source in (path, archive):
        with pytest.raises(WeightsError) as caught:
            import_file(source)
        assert "the disk is full" in one_line(caught.value)
    assert in_folder() == set()


def test_missing_parameters_say_how_to_get_them(one_line):
    with pytest.raises(WeightsError) as caught:
        require("model_1_ptm")
    assert "`foldcli weights download`" in one_line(caught.value)
    assert "`foldcli weights import params_model_1_ptm.npz`" in str(caught.value)
