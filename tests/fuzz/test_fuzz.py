"""Whatever is given to foldcli, it ends with a documented exit code and, if it refuses, one line: never a traceback."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

from foldcli.cli.main import app
from foldcli.errors import FoldcliError
from tests.fuzz.cases import CASES, Case

# A few in `make test`, always the same ones; `make fuzz` takes new ones, and more.
INPUTS = int(os.environ.get("FOLDCLI_FUZZ", "0"))
CODES = (0, 1, 2, 130)
# What a table of results says of a job that ended in an error which nobody foresaw.
UNFORESEEN = re.compile(r"\w+Error in \w+\.py")


@settings(
    max_examples=INPUTS or 30, derandomize=not INPUTS, suppress_health_check=list(HealthCheck), print_blob=bool(INPUTS)
)
@given(case=CASES)
def test_no_input_ends_in_a_traceback(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("case")
    for name, data in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(app, case.arguments, env={"FOLDCLI_HOME": str(folder / "home"), "COLUMNS": "300"})
    finally:
        os.chdir(before)
    error = done.exception
    if isinstance(error, FoldcliError):
        assert error.exit_code in CODES
        assert str(error).strip() and "\n" not in str(error), repr(error)
    elif error is not None and not isinstance(error, SystemExit):
        raise error
    assert done.exit_code in CODES
    assert not UNFORESEEN.search(done.output), done.output
