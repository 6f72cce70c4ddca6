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
        done = colosse("translate", source, "--to", "français", input=input)
        assert (done.returncode, done.stdout, done.stderr) == (0, "Bonjour\n", "")
    assert len(scripted.requests) == 3


def test_translate_json_and_failed_checks(scripted: Scripted, colosse: Any) -> None:
    scripted.reply = "Trois chats"
    done = colosse("translate", "3 cats", "--to", "fr")
    assert (done.returncode, done.stdout) == (1, "Trois chats\n")
    assert done.stderr == "warning: numbers differ from the text: 3\n"
    done = colosse("translate", "3 cats", "--to", "fr", "--from", "en", "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 1
    assert result["answer"] == "Trois chats"
    assert result["verified"] is False
    assert {"name": "numbers", "passed": False, "detail": "3"} in result["checks"]
    assert result["usage"]["completion_tokens"] == 4
    assert result["seconds"] > 0


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
