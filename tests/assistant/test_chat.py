"""What of a conversation is sent."""

from __future__ import annotations

from typing import Any

import pytest

from colosse.assistant.chat import MESSAGE_OVERHEAD, ChatPrompts, count_tokens, fit, messages_for, text_of
from colosse.assistant.prompts import prompts
from colosse.engines.schema import ChatMessage


def talk(turns: int) -> list[ChatMessage]:
    """`turns` questions of 10 words, each but the last answered in 10 words."""
    messages = []
    for turn in range(turns):
        messages.append(ChatMessage(role="user", content=" ".join([f"q{turn}"] * 10)))
        messages.append(ChatMessage(role="assistant", content=" ".join([f"a{turn}"] * 10)))
    return messages[:-1]


def words(text: str) -> int:
    return len(text.split())


TURN = 2 * (10 + MESSAGE_OVERHEAD)


def test_everything_is_kept_when_it_fits() -> None:
    messages = talk(5)
    assert fit(messages, 5 * TURN, words) == (messages, 0)


def test_oldest_turns_go_and_the_system_message_stays() -> None:
    system = ChatMessage(role="system", content="be brief")
    kept, dropped = fit([system, *talk(10)], 5 * TURN, words)
    assert kept[0] is system
    assert kept[1].role == "user"
    assert kept[-1].content == " ".join(["q9"] * 10)
    assert dropped == 19 - (len(kept) - 1) > 0
    assert dropped % 2 == 0
    assert sum(words(text_of(m)) + MESSAGE_OVERHEAD for m in kept) <= 5 * TURN


def test_the_beginning_stays_the_same_over_several_turns() -> None:
    """Each new beginning makes the engine read everything again, so it changes rarely."""
    firsts = [text_of(fit(talk(n), 8 * TURN, words).messages[0]) for n in range(9, 30)]
    assert len(set(firsts)) <= len(firsts) / 2 + 1


@pytest.mark.parametrize("room", [1, 10, 40])
def test_the_last_turn_always_stays(room: int) -> None:
    kept, dropped = fit(talk(3), room, words)
    assert [m.role for m in kept] == ["user"]
    assert dropped == 4


def test_messages_for_leaves_room_for_the_answer() -> None:
    history = talk(200)
    kept, dropped = messages_for(history, "be brief", 4096)
    used = sum(count_tokens(text_of(m)) + MESSAGE_OVERHEAD for m in kept)
    assert dropped > 0
    assert 4096 * 0.5 < used <= 4096 - 1024
    assert text_of(kept[0]) == "be brief"
    assert messages_for(history, "", None) == (
        [ChatMessage(role="system", content=prompts(ChatPrompts, "chat", "en").system), *history],
        0,
    )


@pytest.mark.parametrize(
    ("text", "truth"),
    [  # by the tokenizer of Qwen2.5
        ("Rhodes is an island of Greece, known for its Colossus, one of the seven wonders.", 21),
        ("L'intelligence artificielle bouleverse nos manières d'apprendre, d'écrire et de programmer.", 25),
        ("def add(a: int, b: int) -> int:\n    return a + b\n", 19),
        ("罗得岛太阳神铜像是希腊太阳神赫利俄斯的青铜铸像", 18),
        ("2024-01-31 12:45:07", 19),
    ],
)
def test_count_tokens_is_near_the_truth(text: str, truth: int) -> None:
    assert 0.8 * truth <= count_tokens(text) <= 1.7 * truth


def test_count_tokens_of_spaces() -> None:
    assert count_tokens("") == 0
    assert count_tokens("a b") == 2
    assert count_tokens("a\n\n    b") == 4


@pytest.mark.parametrize(
    ("first", "language"),
    [("What is the best way to learn to swim for a man of my age?", "en"), ("", "en"),
     ("Quelle est la meilleure façon d'apprendre à nager pour une personne de mon âge ?", "fr")],
)  # fmt: skip
def test_the_assistant_introduces_itself_in_the_language_of_the_conversation(first: str, language: Any) -> None:
    history = [ChatMessage(role="user", content=text) for text in (first, "ok", "The one that is in the house")]
    assert text_of(messages_for(history).messages[0]) == prompts(ChatPrompts, "chat", language).system
