"""Sources cut into chunks: by their inputs alone, without loss, in order."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from colosse.core.errors import NotFoundError, UserError
from colosse.data import sources
from colosse.data.config import SourceConfig
from colosse.data.document import Document
from tests.data.conftest import prose


def everything(source: SourceConfig) -> list[str]:
    parts = sources.list_parts(source)
    chunks = sources.cut([source], [parts])
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    found = [d for chunk in chunks for part in chunk.parts for d in sources.read_part(source, part)]
    return [d.text for d in found if isinstance(d, Document)]


def test_folders_patterns_and_files(corpus: Path) -> None:
    names = [part.name for part in sources.list_parts(SourceConfig(name="x", paths=[corpus]))]
    assert names == [
        f"corpus/{name}"
        for name in (
            "a.jsonl", "b.jsonl.gz", "binary.txt", "latin.txt", "page.html", "script.py", "text0.txt", "text1.txt",
            "text2.txt", "more/c.jsonl.zst",
        )
    ]  # fmt: skip
    paths = [corpus / "text1.txt", corpus / "text*.txt", corpus / "notes.xyz"]
    names = [part.name for part in sources.list_parts(SourceConfig(name="x", paths=paths))]
    assert names == [
        "text1.txt",
        "text0.txt",
        "text2.txt",
        "notes.xyz",
    ]  # each once; a file named is read whatever it is
    with pytest.raises(NotFoundError, match="does not exist"):
        sources.list_parts(SourceConfig(name="x", paths=[corpus / "none*.txt"]))


def test_large_files_are_cut_and_nothing_is_lost(tmp_path: Path) -> None:
    texts = [prose(n, 100) for n in range(120)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    pq.write_table(pa.table({"text": texts}), tmp_path / "b.parquet", row_group_size=8, compression="none")
    source = SourceConfig(name="x", paths=[tmp_path])
    parts = sources.list_parts(source)
    chunks = sources.cut([source], [parts])
    assert len(chunks) >= 4
    assert len({part.path for chunk in chunks for part in chunk.parts}) == 2
    assert everything(source) == texts * 2


def test_a_limited_source_is_one_chunk(corpus: Path) -> None:
    limited = SourceConfig(name="x", paths=[corpus], max_documents=5)
    assert len(sources.cut([limited], [sources.list_parts(limited)])) == 1


def test_the_installation_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SourceConfig(name="python", kind="python")
    parts = sources.list_parts(source)
    names = [part.name for part in parts]
    assert names == [part.name for part in sources.list_parts(source)]
    assert {"json/decoder.py", "help:if", "module:builtins"} <= set(names)
    assert not any("/test" in name or name.startswith("test") or "site-packages" in name for name in names)
    by_name = {part.name: part for part in parts}
    (module,) = sources.read_part(source, by_name["json/decoder.py"])
    assert isinstance(module, Document) and "class JSONDecoder" in module.text
    (topic,) = sources.read_part(source, by_name["help:if"])
    assert isinstance(topic, Document) and 'The "if" statement' in topic.text
    (compiled,) = sources.read_part(source, by_name["module:builtins"])
    assert isinstance(compiled, Document) and "Return the absolute value" in compiled.text
    assert list(sources.read_part(source, by_name["encodings/cp037.py"])) == []  # a generated table
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/nowhere")
    with pytest.raises(UserError, match="no source code of its library"):
        sources.list_parts(source)
