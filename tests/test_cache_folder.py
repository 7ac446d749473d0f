"""The cache folder of foldcli and that of the kernels, which know nothing of foldcli, are the same."""

import pytest
from foldcli_kernels import tuning

from foldcli.cache_folder import cache_folder


@pytest.mark.parametrize("variables", [{}, {"XDG_CACHE_HOME": "/cache"}, {"XDG_CACHE_HOME": "relative"}], ids=str)
@pytest.mark.parametrize("home", ["", "/foldcli"])
def test_kernels_use_the_same_folder(variables, home, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in {**variables, "FOLDCLI_HOME": home}.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == tuning.cache_file().parents[1]
