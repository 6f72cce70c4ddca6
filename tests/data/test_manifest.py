"""The manifest of prepared data: sizes are looked at, hashes on request."""

from __future__ import annotations

from pathlib import Path

import pytest

from colosse.core.errors import NotFoundError, UserError
from colosse.data.manifest import read_manifest, verify
from colosse.data.prepare import prepare
from tests.data.conftest import prose
from tests.data.test_prepare import configure


@pytest.fixture
def prepared(tmp_path: Path, home: Path) -> Path:
    (tmp_path / "a.txt").write_text(prose(1, 200))
    return prepare(configure([tmp_path / "a.txt"]), home, workers=1)


def test_whole_data_is_verified(prepared: Path) -> None:
    seen: list[int] = []
    manifest = verify(prepared, seen.append)
    assert manifest == read_manifest(prepared)
    assert sum(seen) == sum(path.stat().st_size for s in ("train", "val") for path in (prepared / s).iterdir())
    assert manifest.config.sources[0].name == manifest.source("mixed").name
    with pytest.raises(NotFoundError, match=r"no source 'x'.*mixed"):
        manifest.source("x")


@pytest.mark.parametrize("suffix", [".bin", ".ends"])
def test_a_flipped_bit_is_found_by_its_hash(prepared: Path, suffix: str) -> None:
    path = max((prepared / "train").glob(f"*{suffix}"), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    read_manifest(prepared)
    with pytest.raises(UserError, match="is damaged: its hash"):
        verify(prepared)


@pytest.mark.parametrize("suffix", [".bin", ".ends"])
def test_a_cut_file_is_found_at_once(prepared: Path, suffix: str) -> None:
    path = max((prepared / "val").glob(f"*{suffix}"), key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="bytes and should have"):
        read_manifest(prepared)
