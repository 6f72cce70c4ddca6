"""`colosse translate` and `summarize` as commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.scripted import Scripted

pytestmark = pytest.mark.usefixtures("scripted_settings")


def test_translate(scripted: Scripted, colosse: Any, tmp_path: Path) -> None:
    scripted.reply = "Bonjour"
    (tmp_path / "a.txt").write_text("Hello\n")
    for source, input in ((tmp_path / "a.txt", None), ("-", "Hello\n"), ("Hello", None)):
        done = colosse("translate", source, "--to", "français", "--from", "en", input=input)
        assert (done.returncode, done.stdout, done.stderr) == (0, "Bonjour\n", "")
    assert len(scripted.requests) == 1  # then it is remembered


def test_translate_json_and_failed_checks(scripted: Scripted, colosse: Any) -> None:
    scripted.reply = "Trois chats"
    done = colosse("translate", "3 cats", "--to", "fr")
    assert (done.returncode, done.stdout) == (1, "Trois chats\n")
    assert "warning: numbers differ from the text: 3\n" in done.stderr
    done = colosse("translate", "3 cats", "--to", "fr", "--from", "en", "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 1
    assert result["answer"] == "Trois chats"
    assert result["verified"] is False
    assert {"name": "numbers", "passed": False, "detail": "3"} in result["checks"]
    assert result["usage"]["completion_tokens"] > 4
    assert result["seconds"] > 0


def test_translate_documents(scripted: Scripted, colosse: Any, tmp_path: Path) -> None:
    scripted.reply = "Bonjour"
    subtitles, glossary = tmp_path / "a.srt", tmp_path / "g.csv"
    subtitles.write_bytes(b"1\r\n00:00:01,000 --> 00:00:02,000\r\nGood morning\r\n")
    glossary.write_text("source,target\nmorning,bonjour\n")
    done = colosse("translate", subtitles, "--to", "fr", "--glossary", glossary, "--output", tmp_path / "b.srt")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "meanings were not compared: the text's language could not be told (see --from)\n"
    assert (tmp_path / "b.srt").read_bytes() == subtitles.read_bytes().replace(b"Good morning", b"Bonjour")
    done = colosse("translate", subtitles, "--to", "fr", "--side-by-side", "--tone", "neutral")
    assert "Good morning" in done.stdout
    assert "Bonjour" in done.stdout
    for arguments, said in (
        ([subtitles, "--to", "fr", "--format", "sub"], "unknown format"),
        ([subtitles, "--to", "fr", "--tone", "rude"], "unknown tone"),
        ([subtitles, "--to", "fr", "--output", tmp_path / "no" / "b.srt"], "no such folder"),
        ([subtitles, "--to", "fr", "--output", tmp_path], "is a folder"),
        ([subtitles, "--to", "fr", "--output", "/proc/b.srt"], "cannot write /proc/b.srt"),
        ([subtitles, "--to", "fr", "--format", "json"], "not JSON"),
        ([subtitles, "--to", "fr", "--format", "docx", "--json"], "not a Word document"),
        ([subtitles, "--to", "fr", "--glossary", tmp_path / "none.csv"], "no such file"),
    ):
        done = colosse("translate", *arguments)
        assert done.returncode == 2
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)
        assert said in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["translate", "Hello", "--to", "klingon"], "unknown language"),
        (["translate", "a.txt", "--to", "fr"], "no such file"),
        (["translate", "-", "--to", "fr"], "standard input is empty"),
        (["summarize", "."], "is a folder"),
    ],
)
def test_bad_input_is_one_line(scripted: Scripted, colosse: Any, arguments: list[str], said: str) -> None:
    done = colosse(*arguments, input="")
    assert done.returncode == 2
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert said in done.stderr
    assert scripted.requests == []
