"""Summaries with an engine that answers as told."""

from __future__ import annotations

from typing import Any

import pytest

from colosse.assistant.chat import count_tokens
from colosse.assistant.skill import ASSUMED_MODEL_LEN
from colosse.assistant.summarize import summarize
from colosse.core.errors import UserError
from colosse.engines.engines import Engines
from tests.fixtures.scripted import Scripted

ENGLISH = "The ship that was lost in the storm of 1974 has been found, and all of its crew are safe with us. " * 3


def asked(scripted: Scripted) -> list[str]:
    return [r.body["messages"][-1]["content"] for r in scripted.requests]


async def test_in_one_go_in_the_language_of_the_text(scripted: Scripted, client: Engines) -> None:
    scripted.reply = "The ship lost in 1974 was found."
    result = await summarize(client, ENGLISH, length="short")
    assert result.answer == "The ship lost in 1974 was found."
    assert result.failed == []
    assert not result.verified
    assert "in English, in at most two sentences" in asked(scripted)[0]
    assert ENGLISH.strip() in asked(scripted)[0]


async def test_in_another_language(scripted: Scripted, client: Engines) -> None:
    scripted.reply = "Le navire est retrouvé et les marins sont avec nous dans le port."
    result = await summarize(client, ENGLISH, language="fr")
    assert result.failed == []
    assert "Résume en français" in asked(scripted)[0]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("Le navire perdu dans la tempête est retrouvé, et les marins sont avec nous.", "language"),
        ("The ship was lost in 1975.", "new_numbers"),
        ("word " * 66, "short_enough"),
        ("", "not_empty"),
    ],
)
async def test_checks(scripted: Scripted, client: Engines, answer: str, problem: str) -> None:
    scripted.reply = answer
    result = await summarize(client, ENGLISH * 2, length="short")
    assert [check.name for check in result.failed] == [problem]
    assert len(scripted.requests) == 2
    scripted.reply = "The ship lost in 1974 is found."
    assert (await summarize(client, ENGLISH, length="short")).failed == []


async def test_a_long_text_by_its_parts(scripted: Scripted, client: Engines) -> None:
    def reply(body: dict[str, Any]) -> str:
        text = body["messages"][-1]["content"]
        return "note of a part" if "This was part" in text else "the whole in short"

    scripted.reply = reply
    text = "\n\n".join(f"Paragraph {i}. " + "Many words stand here to be read. " * 10 for i in range(200))
    result = await summarize(client, text)
    *parts, last = asked(scripted)
    assert result.answer == "the whole in short"
    assert all(f"part {i} of {len(parts)}" in part for i, part in enumerate(parts, 1))
    assert "Paragraph 0." in parts[0]
    assert "Paragraph 199." in parts[-1]
    assert last.count("note of a part") == len(parts) > 3
    assert "These notes cover" in last
    longest = max(count_tokens(m["content"]) for r in scripted.requests for m in r.body["messages"])
    assert longest + 400 < ASSUMED_MODEL_LEN


async def test_notes_of_notes_come_to_an_end(scripted: Scripted, client: Engines) -> None:
    """Notes as long as they may be, of a text that needs two rounds."""
    scripted.reply = lambda body: "n " * body["max_tokens"]
    text = "Many words stand here to be read by all. " * 6000
    result = await summarize(client, text)
    rounds = {text.rsplit("of ", 1)[0][-3:] for text in asked(scripted)}
    assert len(rounds) > 1
    assert result.answer.startswith("n n")


async def test_nothing_to_summarise(client: Engines) -> None:
    with pytest.raises(UserError, match="empty"):
        await summarize(client, "\n")
