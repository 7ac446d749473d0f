"""`foldcli weights` as a user types it."""

import hashlib

import pytest
from typer.testing import CliRunner, Result

from foldcli.cache_folder import cache_folder
from foldcli.cli.weights import app
from foldcli.errors import FoldcliError
from foldcli.weights.cache import PRESETS, params_folder
from tests.weights.conftest import npz_bytes, tar_bytes

ARCHIVE = tar_bytes({f"params_{preset}.npz": npz_bytes(seed) for seed, preset in enumerate(PRESETS)})


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_download_list_verify(site):
    site.content, site.cuts = ARCHIVE, [3000]
    url = f"{site.url}/alphafold_params.tar"
    done = run("download", "--url", url, "--sha256", hashlib.sha256(ARCHIVE).hexdigest())
    assert done.exit_code == 0, done.output
    assert "CC BY 4.0" in done.stdout
    assert "model_5_ptm: params_model_5_ptm.npz, SHA-256" in done.stdout
    assert "import: 100 %" in done.stderr
    assert [path.name for path in (cache_folder() / "downloads").iterdir() if path.suffix != ".lock"] == []
    listed = run("list")
    assert listed.stdout.count(url) == len(PRESETS)
    assert "absent" not in listed.stdout
    assert run("verify").exit_code == 0
    asked = len(site.asked)
    again = run("download", "--url", url)
    assert again.exit_code == 0
    assert "nothing to do" in again.stdout
    assert len(site.asked) == asked


def test_verify_exits_1_for_a_damaged_file(tmp_path):
    (tmp_path / "params_model_1.npz").write_bytes(npz_bytes())
    imported = run("import", str(tmp_path / "params_model_1.npz"))
    assert "CC BY 4.0" in imported.stdout
    (params_folder() / "params_model_1.npz").write_bytes(npz_bytes(1))
    found = run("verify")
    assert found.exit_code == 1
    assert "params_model_1.npz: damaged" in found.stderr


def test_damaged_download_is_not_taken_again(site):
    url = f"{site.url}/alphafold_params.tar"
    site.content = ARCHIVE[:5000]
    failed = run("download", "--url", url)
    assert "truncated" in str(failed.exception)
    site.content, site.etag = ARCHIVE, '"two"'
    assert run("download", "--url", url, "--model", "model_1", "--keep").exit_code == 0
    assert (cache_folder() / "downloads" / "alphafold_params.tar").read_bytes() == ARCHIVE
    assert {path.name for path in params_folder().glob("*.npz")} == {"params_model_1.npz"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("download", "--sha256", "12"), "--sha256 '12': expected 64"),
        (("download", "--url", "ftp://x/y.tar"), "not an http or https address"),
        (("download", "--model", "model_9"), "no preset 'model_9'"),
        (("import", "none.npz"), "no such file"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments, reason, one_line):
    failed = run(*arguments).exception
    assert isinstance(failed, FoldcliError)
    assert failed.exit_code == 2
    assert reason in one_line(failed)
