from __future__ import annotations

import pytest

from colosse.server.conversation import as_history, title_of
from colosse.store.tables import Message


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("court", "court"),
        ("  deux\n lignes ", "deux lignes"),
        ("mot " * 30, "mot mot mot mot mot mot mot mot mot mot mot mot mot mot mot…"),
        ("x" * 100, "x" * 60 + "…"),
    ],
)
def test_titles_are_the_first_words(text: str, title: str) -> None:
    assert title_of(text) == title


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ([], []),
        (["q"], ["user: q"]),
        (["q", "a", "r"], ["user: q", "assistant: a", "user: r"]),
        (["q", "", "r"], ["user: q\n\nr"]),
        (["q", "", "r", "", "s"], ["user: q\n\nr\n\ns"]),
    ],
)
def test_roles_alternate_whatever_failed(path: list[str], sent: list[str]) -> None:
    rows = [Message(role=("user", "assistant")[index % 2], content=text) for index, text in enumerate(path)]
    assert [f"{message.role}: {message.content}" for message in as_history(rows)] == sent
