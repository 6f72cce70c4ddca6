"""Translation with an engine that answers as told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from colosse.assistant.skill import Listener
from colosse.assistant.translate import translate
from colosse.core.errors import UserError
from colosse.engines.engines import Engines
from tests.fixtures.scripted import Scripted


def text_of_request(body: dict[str, Any]) -> str:
    """What a request asks to translate."""
    user = next(m["content"] for m in body["messages"] if m["role"] == "user")
    return user.split("\n\n", 1)[1]


def shouting(body: dict[str, Any]) -> str:
    """A translation that keeps everything and can be told from the source."""
    return re.sub(r"\b[a-z]+\b", lambda word: word[0].upper(), text_of_request(body))


def failed(result: Any) -> dict[str, str]:
    return {check.name: check.detail for check in result.failed}


async def test_layout_code_and_empty_pieces_stay(scripted: Scripted, client: Engines) -> None:
    scripted.reply = shouting
    source = "\n# heading 2\n\n  - item one\n  - item two\n\n```py\nx = 1\n```\n\n---\n\nlast words\n\n"
    result = await translate(client, source, "fr")
    assert result.answer == re.sub(r"\b[a-wyz][a-z]+\b", lambda w: w[0].upper(), source).replace("```PY", "```py")
    assert result.failed == []
    assert not result.verified
    assert {check.name for check in result.checks} == {"complete", "not_empty", "numbers", "kept", "lines", "language"}
    assert result.model == "scripted"
    assert result.usage.completion_tokens > 0
    assert all("x = 1" not in text_of_request(r.body) for r in scripted.requests)


async def test_asks_in_the_language_of_the_answer(scripted: Scripted, client: Engines) -> None:
    scripted.reply = shouting
    await translate(client, "hello there", "fr")
    await translate(client, "hello there", "de")
    first, second = (r.body["messages"][1]["content"] for r in scripted.requests)
    assert first.startswith("Traduis en français")
    assert second.startswith("Translate the text below into German")
    assert all(r.body["temperature"] == 0 for r in scripted.requests)


async def test_blank_lines_that_the_model_lost_come_back(scripted: Scripted, client: Engines) -> None:
    scripted.reply = "UN\nDEUX"
    result = await translate(client, "one\n\n    two", "fr")
    assert result.answer == "UN\n\n    DEUX"
    assert len(scripted.requests) == 1


async def test_one_more_try_when_a_check_fails(scripted: Scripted, client: Engines) -> None:
    answers = iter(["Vous avez {name} messages.", "Vous avez 12 messages, {name}."])
    scripted.reply = lambda body: next(answers)
    result = await translate(client, "You have 12 messages, {name}.", "fr")
    assert result.answer == "Vous avez 12 messages, {name}."
    assert result.failed == []
    retry = scripted.requests[1].body["messages"]
    assert [m["role"] for m in retry] == ["system", "user", "assistant", "user"]
    assert "ces nombres manquent ou sont faux : 12" in retry[-1]["content"]
    assert result.usage.prompt_tokens == sum(
        len(str(m["content"]).split()) for r in scripted.requests for m in r.body["messages"]
    )


@pytest.mark.parametrize(
    ("answer", "problems"),
    [
        ("", {"not_empty", "lines", "numbers", "kept"}),
        ("The ship that was lost in the storm is found, 3 of the crew are here: https://x.org", {"language"}),
        ("Le navire est là : https://x.org", {"numbers"}),
        ("Le navire est là avec 3 hommes", {"kept"}),
        ("Le navire est là\navec 3 hommes : https://x.org", {"lines"}),
    ],
)
async def test_what_still_fails_is_reported(
    scripted: Scripted, client: Engines, answer: str, problems: set[str]
) -> None:
    scripted.reply = answer
    result = await translate(client, "The ship is here with 3 men: https://x.org", "fr")
    assert set(failed(result)) == problems
    assert len(scripted.requests) == 2


async def test_the_better_of_two_answers_is_kept(scripted: Scripted, client: Engines) -> None:
    answers = iter(["Il y a 3 hommes.", "Rien."])
    scripted.reply = lambda body: next(answers)
    result = await translate(client, "There are 3 men, see https://x.org", "fr")
    assert result.answer == "Il y a 3 hommes."
    assert failed(result) == {"kept": "https://x.org"}


async def test_a_cut_off_answer_is_said(scripted: Scripted, client: Engines) -> None:
    scripted.reply = "mot " * 5000
    result = await translate(client, "some words", "fr")
    assert "complete" in failed(result)
    assert result.usage.completion_tokens < 1000


async def test_a_long_text_goes_in_pieces(scripted: Scripted, client: Engines) -> None:
    scripted.reply = shouting
    source = "\n\n".join(f"paragraph number {i} " + "lorem dolor amet tempor sed " * 12 + "." for i in range(40))
    heard: list[tuple[int, int]] = []

    class Hear(Listener):
        def parts(self, done: int, total: int) -> None:
            heard.append((done, total))

    result = await translate(client, source, "fr", listener=Hear())
    assert len(scripted.requests) > 5
    assert result.failed == []
    assert result.answer.count("\n\n") == 39
    assert [line.split()[2] for line in result.answer.split("\n\n")] == [str(i) for i in range(40)]
    assert heard == [(i, len(scripted.requests)) for i in range(len(scripted.requests) + 1)]


async def test_already_in_that_language(scripted: Scripted, client: Engines) -> None:
    source = "Le navire qui était perdu dans la tempête est retrouvé, et les marins sont avec nous."
    assert (await translate(client, source, "fr")).answer == source
    assert (await translate(client, "abc", "fr", source="fr")).answer == "abc"
    assert scripted.requests == []


async def test_decimals_are_mended(scripted: Scripted, client: Engines) -> None:
    scripted.reply = "It costs 3. 4 million."
    assert (await translate(client, "Cela coûte 3,4 millions.", "en")).answer == "It costs 3.4 million."


async def test_nothing_to_translate(client: Engines) -> None:
    with pytest.raises(UserError, match="empty"):
        await translate(client, " \n", "fr")
