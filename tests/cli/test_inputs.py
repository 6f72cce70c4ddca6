"""Texts from files, pipes and words."""

from __future__ import annotations

from pathlib import Path

import pytest

from colosse.cli.inputs import MAX_BYTES, read_text, read_text_or_words
from colosse.core.errors import NotFoundError, TooLargeError, UserError


def test_encodings(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes("déjà\n".encode(encoding))
        assert read_text(str(path)) == "déjà\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (b"caf\xe9", "not UTF-8 text .byte 3"),
        (b"\x7fELF\x00\x01", "not text"),
    ],
)
def test_not_a_text(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    with pytest.raises(UserError, match=said):
        read_text(str(path))


def test_missing_folder_too_long(tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("x")
    with pytest.raises(NotFoundError, match=r"did you mean .*report.txt"):
        read_text(str(tmp_path / "reprt.txt"))
    with pytest.raises(UserError, match="is a folder"):
        read_text(str(tmp_path))
    (tmp_path / "big").write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(TooLargeError, match="16 MiB"):
        read_text(str(tmp_path / "big"))


def test_words_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note").write_text("in the file")
    assert read_text_or_words("note") == "in the file"
    assert read_text_or_words("Hello") == "Hello"
    assert read_text_or_words("Well. It is in a/b.") == "Well. It is in a/b."
    assert read_text_or_words("The end.") == "The end."
    assert read_text_or_words("long " * 2000) == "long " * 2000
    for missing in ("letter.txt", "folder/letter"):
        with pytest.raises(NotFoundError, match="no such file"):
            read_text_or_words(missing)
    with pytest.raises(UserError, match="empty"):
        read_text_or_words(" ")
