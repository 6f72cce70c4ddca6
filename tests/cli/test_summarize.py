"""`colosse summarize` as a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.scripted import Scripted

pytestmark = pytest.mark.usefixtures("scripted_settings")

TEXT = """# Shops

The shop in Lyon sold 40 chairs in May.

# Storms

A storm broke two windows of the house in Brest.
"""


def test_a_summary_with_its_passages(scripted: Scripted, colosse: Any, tmp_path: Path) -> None:
    scripted.reply = "The shop in Lyon sold 40 chairs. A storm broke two windows. The mayor of Paris danced."
    (tmp_path / "a.md").write_text(TEXT)
    done = colosse("summarize", tmp_path / "a.md", "--length", "short")
    assert done.returncode == 0
    assert done.stdout == (
        "The shop in Lyon sold 40 chairs [1]. A storm broke two windows [2].\n\nSources\n"
        "[1] Shops, Shops: The shop in Lyon sold 40 chairs in May.\n"
        "[2] Shops, Storms: A storm broke two windows of the house in Brest.\n"
    )
    assert "dropped, since nothing in the text supports it: The mayor of Paris danced." in done.stderr
    assert "two sentences" in scripted.requests[0].body["messages"][1]["content"]


def test_json_style_language_and_marks(scripted: Scripted, colosse: Any) -> None:
    scripted.reply = "- Le magasin de Lyon a vendu 41 chaises en mai."
    options = ("--style", "bullets", "--lang", "French", "--length", "30 words", "--keep-unsupported", "--json")
    done = colosse("summarize", "-", *options, input=TEXT)
    result = json.loads(done.stdout)
    assert done.returncode == 1
    assert result["answer"] == "- Le magasin de Lyon a vendu 41 chaises en mai [unverified]."
    assert (result["verified"], result["language"]) == (False, "fr")
    assert "30 mots" in scripted.requests[0].body["messages"][1]["content"]


def test_long_texts_say_how_far_they_are(scripted: Scripted, colosse: Any) -> None:
    scripted.reply = "Words stand here to be read."
    long = "\n\n".join("Words stand here to be read. " * 20 for _ in range(60))
    done = colosse("summarize", "-", input=long)
    assert "summarising: part 1 of " in done.stderr
    assert done.stdout.startswith("Words stand here to be read [1].\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["."], "is a folder"),
        (["nothing.pdf"], "no such file"),
        (["http://127.0.0.1/x"], "127.0.0.1"),
        (["-", "--length", "huge"], "no such length: 'huge'"),
        (["-"], "empty"),
    ],
)
def test_what_can_not_be_summarised(scripted: Scripted, colosse: Any, arguments: list[str], said: str) -> None:
    done = colosse("summarize", *arguments, input="")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert scripted.requests == []
