"""Shards of one size from chunks of any; documents found again; few files open."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colosse.data import shards
from colosse.data.manifest import read_manifest
from colosse.data.prepare import prepare
from colosse.data.shards import Stream, plan_shards
from tests.data.conftest import prose
from tests.data.test_prepare import configure


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 25))
def test_plan_shards(tokens: list[int], size: int) -> None:
    plan = plan_shards(list(enumerate(tokens)), size)
    lengths = [sum(stop - start for _, start, stop in pieces) for pieces in plan]
    assert sum(lengths) == sum(tokens) and all(n == size for n in lengths[:-1]) and all(lengths)
    seen = [(chunk, place) for pieces in plan for chunk, start, stop in pieces for place in range(start, stop)]
    assert seen == [(chunk, place) for chunk, count in enumerate(tokens) for place in range(count)]


@pytest.fixture
def prepared(tmp_path: Path, home: Path) -> Path:
    for n in range(30):
        (tmp_path / f"{n:02d}.txt").write_text(prose(n, 3 + n % 17))
    return prepare(configure([tmp_path / "*.txt"], shard_tokens=1024), home, workers=1)


def test_a_stream_is_one_long_array(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(prepared)
    files = manifest.sources[0].train.shards
    assert len(files) > 3
    whole = np.concatenate([np.fromfile(prepared / shard.file, dtype="<u2") for shard in files])
    monkeypatch.setattr(shards, "OPEN_FILES", 2)
    stream = Stream(prepared, manifest, "mixed", "train")
    for start, count in ((0, 5), (1000, 100), (1023, 2), (0, len(whole)), (len(whole) - 3, 10)):
        into = np.full(count, -1, dtype=np.int64)
        got = stream.read(start, count, into)
        assert got == min(count, len(whole) - start)
        assert (into[:got] == whole[start : start + got]).all() and (into[got:] == -1).all()
        assert len(stream._open) <= 2
    again = pickle.loads(pickle.dumps(stream))
    into = np.empty(50, dtype=np.int64)
    again.read(1000, 50, into)
    assert (into == whole[1000:1050]).all()


def test_documents_are_found_by_their_number(prepared: Path) -> None:
    manifest = read_manifest(prepared)
    stream = Stream(prepared, manifest, "mixed", "train")
    whole = np.empty(stream.tokens, dtype=np.int64)
    stream.read(0, stream.tokens, whole)
    documents = [stream.document(number) for number in range(stream.documents)]
    assert (np.concatenate(documents) == whole).all()
    assert all(document[-1] == manifest.eot_id and (document[:-1] != manifest.eot_id).all() for document in documents)
    with pytest.raises(IndexError):
        stream.document(stream.documents)
