"""Files of every kind to documents; parts of a file share none and miss none."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.data import readers
from colosse.data.document import Document
from colosse.data.readers import UnreadableError, kind_of, read


def texts(path: Path, field: str = "text", start: int = 0, stop: int = 0) -> list[str]:
    return [d.text if isinstance(d, Document) else "!" for d in read(path, path.name, field, start, stop)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "text"), ("a.MD", "text"), ("a.py", "text"), ("a.txt.gz", "text"), ("a.html", "html"),
        ("a.jsonl", "rows"), ("a.jsonl.zst", "rows"), ("a.ndjson.gz", "rows"), ("a.parquet", "parquet"),
        ("a.bin", ""), ("a.png", ""), ("a", ""), ("a.gz", ""),
    ],
)  # fmt: skip
def test_kinds(name: str, kind: str) -> None:
    assert kind_of(Path(name)) == kind


def test_text_files(tmp_path: Path) -> None:
    for name, data in (
        ("plain.txt", "é\r\nè".encode()),
        ("mark.txt", b"\xef\xbb\xbf" + "é\r\nè".encode()),
        ("wide.txt", "é\r\nè".encode("utf-16")),
        ("packed.txt.gz", gzip.compress("é\r\nè".encode())),
        ("packed.txt.zst", zstandard.compress("é\r\nè".encode())),
    ):
        (tmp_path / name).write_bytes(data)
        assert texts(tmp_path / name) == ["é\r\nè"]
    (tmp_path / "page.htm").write_text("<p>x</p>")
    (page,) = read(tmp_path / "page.htm", "page.htm", "text")
    assert isinstance(page, Document) and page.html


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=20), st.integers(8, 64))
@settings(max_examples=60, deadline=None)
def test_long_texts_are_cut_without_loss(lines: list[str], longest: int) -> None:
    import tempfile

    text = "\n".join(lines).encode(errors="replace").decode().replace("\0", "").replace("\ufeff", "")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "LONGEST", longest)
        path = Path(folder) / "long.txt"
        path.write_bytes(text.encode())
        found = texts(path)
    assert "".join(found) == text
    assert all(0 < len(part.encode()) <= longest for part in found)


def test_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        json.dumps({"text": "one"}),
        "",
        "{broken",
        json.dumps({"text": 5}),
        json.dumps({"other": "x"}),
        "[1]",
        json.dumps({"text": "<!DOCTYPE html><p>two"}),
    ]
    path.write_text("\n".join(rows))
    found = list(read(path, "a", "text"))
    assert [f.text for f in found if isinstance(f, Document)] == ["one", "<!DOCTYPE html><p>two"]
    assert [f.html for f in found if isinstance(f, Document)] == [False, True]
    problems = [str(f) for f in found if isinstance(f, UnreadableError)]
    assert [needle in p for needle, p in zip(["not JSON", "is int", "has: other", "has: list"], problems, strict=True)]
    path.write_text(json.dumps({"a": {"b": "deep"}}))
    assert texts(path, "a.b") == ["deep"]


@given(
    st.lists(st.text(max_size=12), min_size=1, max_size=15), st.lists(st.integers(1, 300), max_size=5), st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_parts_of_rows_meet_without_gap_or_overlap(rows: list[str], cuts: list[int], final: bool) -> None:
    import tempfile

    rows = [row.encode(errors="replace").decode() for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_text("\n".join(json.dumps({"text": row}) for row in rows) + "\n" * final)
        size = path.stat().st_size
        edges = [0, *sorted({cut for cut in cuts if cut < size}), size]
        found = [text for a, b in pairwise(edges) for text in texts(path, "text", a, b)]
    assert found == rows


def test_fields_put_together(tmp_path: Path) -> None:
    rows = [{"en": "{fr} dog", "fr": "chien", "x": {"y": "z"}}, {"en": "cat"}]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pq.write_table(pa.Table.from_pylist(rows[:1]), tmp_path / "pairs.parquet")
    for name, pattern, expected in (
        ("pairs.jsonl", "{en}\n{fr} ({x.y})", ["{fr} dog\nchien (z)", "!"]),
        ("pairs.parquet", "EN: {en} FR: {fr}", ["EN: {fr} dog FR: chien"]),
    ):
        assert texts(tmp_path / name, pattern) == expected
    with pytest.raises(UnreadableError, match="no column 'de'"):
        texts(tmp_path / "pairs.parquet", "{en} {de}")


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"row {n}" for n in range(25)], "n": list(range(25)), "meta": [{"body": "b"}] * 25})
    pq.write_table(table, path, row_group_size=10)
    assert texts(path) == [f"row {n}" for n in range(25)]
    assert texts(path, "text", 1, 2) == [f"row {n}" for n in range(10, 20)]
    assert next(d.name for d in read(path, "a", "text", 2, 3) if isinstance(d, Document)) == "a:20"
    assert texts(path, "meta.body") == ["b"] * 25
    with pytest.raises(UnreadableError, match=r"no column 'body'.*text, n, meta"):
        texts(path, "body")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b"abc\0def", "is binary"),
        ("a.txt", "café".encode("latin-1"), "byte 0xe9"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 5000)[:-20], "damaged"),
        ("a.jsonl.zst", b"not zstandard", "damaged"),
        ("a.txt.gz", b"not gzip", "damaged"),
        ("a.parquet", b"PAR1 no", "not a parquet file"),
    ],
)
def test_what_cannot_be_read(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnreadableError, match=message):
        texts(tmp_path / name)
    with pytest.raises(UnreadableError, match=r"cannot read|not a parquet"):
        texts(tmp_path / "missing" / name)
