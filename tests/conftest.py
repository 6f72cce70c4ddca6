"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.fixtures.scripted", "tests.fixtures.weights"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh COLOSSE_HOME, with no other COLOSSE_* variable set."""
    import os

    for name in [name for name in os.environ if name.startswith("COLOSSE_") and not name.startswith("COLOSSE_TEST_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "home"
    monkeypatch.setenv("COLOSSE_HOME", str(path))
    return path
