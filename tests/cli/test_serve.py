"""`colosse serve` before it serves. What it does then is in `tests/server`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.web import Web, make_gguf

DATA = make_gguf(300_000)


@pytest.fixture
def catalogue(home: Path, web: Web) -> Web:
    """A catalogue whose `tiny` is not here yet."""
    web.files["/tiny.gguf"] = DATA
    home.mkdir()
    (home / "models.toml").write_text(
        f'[models.tiny]\ntitle = "Tiny"\nsize_bytes = {len(DATA)}\nsha256 = "{hashlib.sha256(DATA).hexdigest()}"\n'
        f'sources = [{{ kind = "url", url = "{web.url}/tiny.gguf" }}]\n'
    )
    return web


def test_an_address_that_needs_a_key_is_refused_before_a_model_is_pulled(
    catalogue: Web, home: Path, colosse: Any
) -> None:
    done = colosse("serve", "--model", "tiny", "--host", "0.0.0.0", "--port", "0", "--no-open")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "refusing to serve on 0.0.0.0 without any API key" in done.stderr
    assert "colosse keys create" in done.stderr
    assert catalogue.log == []
    assert not (home / "models").exists() or not any((home / "models").iterdir())
