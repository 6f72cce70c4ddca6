"""From a corpus to shards: the same bytes whatever the workers and interruptions."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colosse.core.config import load
from colosse.core.errors import UserError
from colosse.data.config import DataConfig
from colosse.data.manifest import read_manifest
from colosse.data.prepare import prepare
from colosse.data.tokenizer import Tokenizer
from tests.data.conftest import FRENCH, prose


def configure(paths: list[Path], **changes: Any) -> DataConfig:
    values = {
        "sources": [{"name": "mixed", "paths": [str(path) for path in paths]}],
        "tokenizer.vocab_size": 512,
        "shard_tokens": 2048,
        "val_fraction": 0.1,
        **changes,
    }
    return load(DataConfig, overrides=values).value


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_comes_out_is_what_went_in(corpus: Path, home: Path) -> None:
    folder = prepare(configure([corpus]), home, workers=1)
    manifest = read_manifest(folder)
    assert folder == home / "data" / manifest.identity
    (source,) = manifest.sources
    drops = {drop.rule: drop.documents for drop in source.dropped}
    assert drops == {"unreadable": 3, "dedup/exact": 1}
    assert source.read_documents == 39 + 30 + 20 + 3 + 1 + 1
    assert source.train.documents + source.val.documents == source.read_documents - 1
    reasons = {e.document: e.detail for d in source.dropped if d.rule == "unreadable" for e in d.examples}
    assert "binary" in reasons["corpus/binary.txt"]
    assert "UTF-8" in reasons["corpus/latin.txt"]
    assert "not JSON" in reasons["corpus/a.jsonl"]
    duplicate = next(d for d in source.dropped if d.rule == "dedup/exact")
    assert duplicate.examples[0].detail.startswith("like corpus/a.jsonl:")

    tokenizer = Tokenizer.load(folder / "tokenizer")
    for name, split in (("train", source.train), ("val", source.val)):
        ids = np.concatenate([np.fromfile(folder / s.file, dtype=manifest.dtype) for s in split.shards])
        assert all(s.tokens == 2048 for s in split.shards[:-1])
        assert len(ids) == split.tokens
        assert (ids == tokenizer.eot_id).sum() == split.documents
        texts = tokenizer.decode(ids.tolist()).split("<|endoftext|>")[:-1]
        assert sum(len(text.encode()) for text in texts) == split.bytes
        if name == "train":
            assert prose(0) in texts and prose(101, words=FRENCH) in texts
            assert any(text.startswith("def area") for text in texts)
            assert any("lighthouse" in text and "<p>" not in text and "Copyright" not in text for text in texts)


def test_the_number_of_workers_changes_nothing(corpus: Path, tmp_path: Path) -> None:
    config = configure([corpus], **{"steps.quality": ["c4"], "steps.languages": ["en", "fr"]})
    one, three = (prepare(config, tmp_path / name, workers=count) for name, count in (("one", 1), ("three", 3)))
    assert one.name == three.name
    assert contents(one) == contents(three)


def test_done_work_is_found_again_and_changed_work_is_not(corpus: Path, home: Path) -> None:
    config = configure([corpus])
    folder = prepare(config, home, workers=1)
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert prepare(config, home, workers=1) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    assert prepare(configure([corpus], seed=1), home, workers=1) != folder
    (corpus / "text0.txt").write_text(prose(999, 60))
    assert prepare(config, home, workers=1) != folder


KILLED = """
import sys
from pathlib import Path
from colosse.data.config import DataConfig
from colosse.data.prepare import prepare

if __name__ == "__main__":
    prepare(DataConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2]), workers=2)
"""


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    with rows.open("w") as file:
        file.writelines(json.dumps({"text": prose(n, 200)}) + "\n" for n in range(80))
    config = configure([rows], shard_tokens=50_000)
    expected = contents(prepare(config, tmp_path / "whole", workers=1))
    home = tmp_path / "killed"
    script = tmp_path / "run.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), config.model_dump_json(), str(home)]
    work = home / "data" / ".partial"
    codes = []
    for moment in ("clean/*.json", "tokens/*.json", "shards/*.json"):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        while process.poll() is None and not list(work.glob(f"*/work/{moment}")):
            time.sleep(0.002)
        process.kill()  # its workers see that and end by themselves
        codes.append(process.wait())
    assert -signal.SIGKILL in codes
    for folder in work.glob("*/train"):
        (folder / ".half-written").write_bytes(b"")
    assert contents(prepare(config, home, workers=1)) == expected


def test_a_source_of_one_text_holds_out_its_end(tmp_path: Path, home: Path) -> None:
    text = prose(5, 300)
    (tmp_path / "book.txt").write_text(text)
    folder = prepare(configure([tmp_path / "book.txt"], shard_tokens=1 << 20), home, workers=1)
    source = read_manifest(folder).sources[0]
    assert source.val.tokens == pytest.approx(0.1 * (source.train.tokens + source.val.tokens), rel=0.02)
    assert source.train.bytes + source.val.bytes == len(text.encode())
    tokenizer = Tokenizer.load(folder / "tokenizer")
    both = [tokenizer.decode(np.fromfile(next(folder.glob(f"{s}/*.bin")), "<u2").tolist()) for s in ("train", "val")]
    assert "".join(part.removesuffix("<|endoftext|>") for part in both) == text


def test_a_tokenizer_that_exists_is_used(corpus: Path, tmp_path: Path, home: Path) -> None:
    given = Tokenizer.train([prose(1)], 384)
    given.save(tmp_path / "given")
    config = configure([corpus], **{"tokenizer.path": str(tmp_path / "given")})
    folder = prepare(config, home, workers=1)
    assert read_manifest(folder).vocab_size == given.vocab_size
    assert contents(folder / "tokenizer")["tokenizer.json"] == contents(tmp_path / "given")["tokenizer.json"]


@pytest.mark.parametrize(
    ("files", "changes", "message"),
    [
        ({}, {}, "does not exist"),
        ({"a.txt": b""}, {}, "is empty"),
        ({"a.bin": b"x"}, {}, "is empty"),
        ({"a.txt": b"\0\1\2" * 9}, {}, "binary"),
        ({"a.txt": "été".encode("latin-1")}, {}, "not UTF-8"),
        ({"a.jsonl": b'{"content": "x"}\n'}, {}, "no field 'text'"),
        ({"a.jsonl": b"{...\n"}, {}, "not JSON"),
        ({"a.jsonl.gz": b"no gzip"}, {}, "damaged"),
        ({"a.jsonl.zst": b"no zstd"}, {}, "damaged"),
        ({"a.parquet": b"no parquet"}, {}, "not a parquet file"),
        ({"a.txt": b"   \n"}, {}, "nothing is left"),
        ({"a.txt": b"too short"}, {"steps.quality": ["gopher"]}, "nothing is left"),
        ({"a.txt": b"fine"}, {"tokenizer.path": "nowhere"}, "cannot read"),
        ({"a.txt": b"fine"}, {"steps.decontaminate": ["nowhere.txt"]}, "cannot read"),
    ],
)
def test_what_cannot_be_prepared_is_refused(
    files: dict[str, bytes], changes: dict[str, Any], message: str, tmp_path: Path, home: Path
) -> None:
    folder = tmp_path / "corpus"
    for name, content in files.items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        prepare(configure([folder], **changes), home, workers=1)
    assert list((home / "data").glob("[0-9a-f]*")) == [] if (home / "data").exists() else True
