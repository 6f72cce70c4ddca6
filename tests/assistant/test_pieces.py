"""Cutting long texts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from colosse.assistant.chat import count_tokens
from colosse.assistant.pieces import split


@given(st.text(alphabet="ab é\n.!字😀1", max_size=400), st.integers(3, 40))
def test_nothing_is_lost_and_pieces_fit(text: str, limit: int) -> None:
    pieces = split(text, limit)
    assert "".join(pieces) == text
    assert all(pieces)
    assert all(count_tokens(piece) <= limit for piece in pieces)


def test_cuts_at_paragraphs_first_then_lines_then_sentences() -> None:
    paragraphs = "One two three four.\nFive six seven.\n\nEight nine ten eleven.\n\nTwelve."
    assert split(paragraphs, 100) == [paragraphs]
    assert split(paragraphs, 14) == ["One two three four.\nFive six seven.\n\n", "Eight nine ten eleven.\n\nTwelve."]
    assert split("One two three four.\nFive six seven.", 8) == ["One two three four.\n", "Five six seven."]
    assert split("One two three. Four five six.", 5) == ["One two three. ", "Four five six."]


def test_a_long_text_takes_few_pieces() -> None:
    text = "A sentence of seven words stands here. " * 300
    pieces = split(text, 500)
    assert len(pieces) <= 1.2 * count_tokens(text) / 500 + 1
    assert all(piece.endswith("here. ") for piece in pieces)
