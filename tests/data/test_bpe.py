"""The quick encoder gives the ids that `tokenizers` gives, for every character there is."""

from __future__ import annotations

import json

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.data import bpe
from colosse.data.bpe import WordEncoder
from colosse.data.tokenizer import Tokenizer
from tests.data.conftest import FRENCH, prose

TEXTS = [prose(n) for n in range(10)] + [prose(n, words=FRENCH) for n in range(10)]
TOKENIZER = Tokenizer.train(TEXTS, 512)
CODE = "def f(x):\n\treturn {'a': 1.5e3}  # don't, DON'T\r\n\r\n   \n\nif x>=10:\n    pass\n"


def agree(texts: list[str]) -> None:
    words = WordEncoder(TOKENIZER._core)
    for text in texts:
        ids = words.encode(text)
        assert ids is not None
        assert ids.tolist() == TOKENIZER.encode(text), repr(text)


def test_prose_and_code() -> None:
    agree([*TEXTS, CODE, "", " ", "\n", "L’été où « naît » l'œuvre — déjà… 3 € 🙂", "日本語 العربية Привет ½²"])


@given(st.text(st.characters(max_codepoint=127)))
@settings(max_examples=300, deadline=None)
def test_any_ascii(text: str) -> None:
    agree([text])


@given(
    st.lists(st.sampled_from(["'s", "'LL", " ", "  ", "\n", "\r\n", "\t", "a", "É", "1", "²", "!", "…", "\u3000", "_"]))
)
@settings(max_examples=300, deadline=None)
def test_any_order_of_kinds(pieces: list[str]) -> None:
    agree(["".join(pieces), "é" + "".join(pieces)])


def test_every_character_of_the_basic_plane() -> None:
    known = [chr(c) for c in [*range(0x80, 0xD800), *range(0xE000, 0x10000), *range(0x1F000, 0x1FB00)]]
    known = [character for character in known if not bpe._UNSURE.match(character)]
    parts = [f"a{c}b {c} 1{c}2 !{c}{c}\n{c} x  {c}'{c}s" for c in known]
    agree(["\n".join(parts[start : start + 500]) for start in range(0, len(parts), 500)])


def test_what_is_not_sure_is_left_to_tokenizers() -> None:
    words = WordEncoder(TOKENIZER._core)
    for text in ("x <tool_call> y", "new letter \ua7ce", "\U00033000"):
        assert words.encode(text) is None
        assert TOKENIZER.encode_batch([text, "plain", text])[2].tolist() == TOKENIZER.encode(text)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "MOST_WORDS", 20)
    words = WordEncoder(TOKENIZER._core)
    for text in TEXTS:
        words.encode(text)
    assert len(words) <= 20
    words.encode("x" * 100)
    assert "x" * 100 not in words


def test_other_tokenizers_are_not_taken_for_ours() -> None:
    assert WordEncoder.fits(TOKENIZER._core)
    state = json.loads(TOKENIZER._core.to_str())
    for change in (
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}},
        {"pre_tokenizer": None},
        {"model": {**state["model"], "ignore_merges": True}},
    ):
        assert not WordEncoder.fits(tokenizers.Tokenizer.from_str(json.dumps({**state, **change})))
