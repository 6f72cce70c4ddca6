"""Batches: shifted targets, packed documents, one order for any number of ranks, exact resumption."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from colosse.core.errors import NotFoundError, UserError
from colosse.data.loader import IGNORED, Batch, Loader
from colosse.data.manifest import Manifest, read_manifest
from colosse.data.prepare import prepare
from tests.data.conftest import FRENCH, prose
from tests.data.test_prepare import configure

pytestmark = pytest.mark.torch
FIELDS = ("tokens", "targets", "documents", "positions")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for name, words in (("english", None), ("french", FRENCH)):
        (folder / name).mkdir()
        for n in range(24):
            text = prose(n, 1 + n % 9, words) if words else prose(n, 2 + n % 13)
            (folder / name / f"{n:02d}.txt").write_text(text)
    sources = [{"name": name, "paths": [str(folder / name)]} for name in ("english", "french")]
    config = configure([], sources=sources, shard_tokens=1024, **{"steps.dedup": "none"})
    return prepare(config, folder / "home", workers=1)


def stream(prepared: Path, manifest: Manifest, source: str, split: str) -> np.ndarray:
    shards = manifest.source(source).split(split).shards
    return np.concatenate([np.fromfile(prepared / shard.file, dtype="<u2") for shard in shards]).astype(np.int64)


def equal(one: Batch, other: Batch) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in FIELDS]
    return all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)


def test_an_epoch_is_the_whole_corpus(prepared: Path) -> None:
    manifest = read_manifest(prepared)
    loader = Loader(prepared, seq_len=32, seed=3)
    batch = loader.batch(0, loader.num_sequences)
    rows = {tuple(row) for row in batch.tokens.tolist()}
    expected = set()
    for source in loader.sources:
        ids = stream(prepared, manifest, source, "train")
        expected |= {tuple(ids[i : i + 32].tolist()) for i in range(0, (len(ids) - 1) // 32 * 32, 32)}
    assert rows == expected
    assert loader.sources == ["english", "french"]
    assert not equal(batch, loader.batch(loader.num_sequences, loader.num_sequences))


def test_documents_positions_and_targets(prepared: Path) -> None:
    loader = Loader(prepared, seq_len=48, seed=1)
    eot = read_manifest(prepared).eot_id
    batch = loader.batch(0, 40)
    assert batch.documents is not None and batch.positions is not None
    assert all(getattr(batch, name).dtype == torch.int64 for name in FIELDS)
    for row in range(40):
        document, position = 0, 0
        for place in range(48):
            token, target = int(batch.tokens[row, place]), int(batch.targets[row, place])
            assert (int(batch.documents[row, place]), int(batch.positions[row, place])) == (document, position)
            if token == eot:
                assert target == IGNORED
                document, position = document + 1, 0
            else:
                position += 1
                assert target >= 0
                if place < 47:
                    assert target == int(batch.tokens[row, place + 1])
    assert int(batch.documents.max()) >= 1


def test_without_masks_targets_cross_documents(prepared: Path) -> None:
    masked = Loader(prepared, seq_len=48, seed=1).batch(0, 40)
    plain = Loader(prepared, seq_len=48, seed=1, mask_documents=False).batch(0, 40)
    assert plain.documents is None and plain.positions is None
    assert torch.equal(plain.tokens, masked.tokens)
    assert (plain.targets >= 0).all()
    assert torch.equal(plain.targets[masked.targets >= 0], masked.targets[masked.targets >= 0])


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_order_is_the_same_for_any_number_of_ranks(prepared: Path, ranks: int) -> None:
    whole = Loader(prepared, seq_len=16, seed=9).batch(0, 64)
    share = 8 // ranks
    loaders = [Loader(prepared, seq_len=16, seed=9) for _ in range(ranks)]
    parts = [loader.batch(step * 8 + r * share, share) for step in range(8) for r, loader in enumerate(loaders)]
    for name in FIELDS:
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_going_on_is_remembering_a_number(prepared: Path) -> None:
    loader = Loader(prepared, seq_len=16, seed=4)
    places = [0, 5, loader.num_sequences - 1, 3 * loader.num_sequences + 2]
    first = [loader.batch(place, 7) for place in places]
    again = [Loader(prepared, seq_len=16, seed=4).batch(place, 7) for place in reversed(places)]
    assert all(equal(a, b) for a, b in zip(first, reversed(again), strict=True))


def test_threads_may_share_a_loader(prepared: Path) -> None:
    loader = Loader(prepared, seq_len=16, seed=4)
    expected = [loader.batch(n * 4, 4) for n in range(40)]
    found: dict[int, Batch] = {}

    def work(offset: int) -> None:
        for n in range(offset, 40, 4):
            found[n] = loader.batch(n * 4, 4)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(equal(found[n], expected[n]) for n in range(40))


@pytest.mark.parametrize("seq_len", [16, 33, 100_000])
def test_validation_asks_for_every_token_once_in_order(prepared: Path, seq_len: int) -> None:
    manifest = read_manifest(prepared)
    for source in ("english", "french"):
        loader = Loader(prepared, seq_len=seq_len, seed=0, split="val", source=source, mask_documents=False)
        batch = loader.batch(0, loader.num_sequences + 5)
        assert len(batch.tokens) == loader.num_sequences
        ids = stream(prepared, manifest, source, "val")
        assert batch.targets[batch.targets != IGNORED].tolist() == ids[1:].tolist()
    both = Loader(prepared, seq_len=16, split="val")
    singles = [Loader(prepared, seq_len=16, split="val", source=name) for name in both.sources]
    assert both.num_sequences == sum(single.num_sequences for single in singles)
    parts = [single.batch(0, single.num_sequences) for single in singles]
    assert torch.equal(both.batch(0, both.num_sequences).tokens, torch.cat([part.tokens for part in parts]))


def test_what_is_damaged_is_refused(prepared: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(prepared, copy)
    shard = next((copy / "train").glob("*.bin"))
    whole = shard.read_bytes()
    loader = Loader(copy, seq_len=16)
    shard.write_bytes(whole[:-10])
    with pytest.raises(UserError, match="bytes and should have"):
        Loader(copy, seq_len=16)
    shard.write_bytes(b"")
    with pytest.raises(UserError, match="cut short while in use"):
        loader.batch(0, loader.num_sequences)
    shard.unlink()
    with pytest.raises(UserError, match="has 0 bytes"):
        Loader(copy, seq_len=16)
    (copy / "manifest.json").write_text('{"format": 1}')
    with pytest.raises(UserError, match="damaged or of another version"):
        Loader(copy, seq_len=16)
    with pytest.raises(NotFoundError, match="is not prepared data"):
        Loader(tmp_path, seq_len=16)


def test_too_little_data_and_unknown_sources_are_refused(prepared: Path) -> None:
    with pytest.raises(UserError, match="no sequence of 1000000 tokens"):
        Loader(prepared, seq_len=1_000_000)
    with pytest.raises(NotFoundError, match="no source 'german'"):
        Loader(prepared, seq_len=16, source="german")
