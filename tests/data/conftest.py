"""Where the real data are, if they are."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def data_folder() -> Path:
    """The folder of real data; the test is skipped where there is none."""
    named = os.environ.get("DGMJAX_DATA")
    if not named:
        pytest.skip("needs real data: set DGMJAX_DATA to a folder of data sets")
    return Path(named)


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of decoded data."""
    monkeypatch.setenv("DGMJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
