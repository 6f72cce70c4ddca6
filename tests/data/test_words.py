"""Hashes of words: equal for equal words, wherever they stand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.data.words import BLOCK, find_words, hash_words, normalised_words, shingles


@given(
    st.lists(st.text(st.characters(exclude_characters=" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f", codec="utf-8"), min_size=1))
)
@settings(max_examples=150, deadline=None)
def test_equal_words_have_equal_hashes(words: list[str]) -> None:
    found = find_words(" ".join(words) + "\n")
    hashes = hash_words(found)
    assert len(hashes) == len(words)
    by_hash: dict[int, str] = {}
    for word, number in zip(words, hashes.tolist(), strict=True):
        assert by_hash.setdefault(number, word) == word
    assert len(by_hash) == len(set(words))
    assert found.characters == sum(map(len, words))


def test_words_across_blocks() -> None:
    text = " ".join(f"w{n % 977}" for n in range(60_000))
    assert len(text) > 3 * BLOCK
    hashes = hash_words(find_words(text))
    assert len(hashes) == 60_000 and len(np.unique(hashes)) == 977
    assert (hashes[:977] == hashes[977 : 2 * 977]).all() and hashes[0] == hash_words(find_words("w0"))[0]


def test_a_word_longer_than_a_block() -> None:
    hashes = hash_words(find_words("a " + "x" * (3 * BLOCK) + " a"))
    assert len(hashes) == 3 and hashes[0] == hashes[2] != hashes[1]


def test_normalised_words_ignore_case_and_punctuation() -> None:
    assert (normalised_words("The End, (really)!") == normalised_words("the end -- REALLY")).all()
    assert (normalised_words("l'été") == normalised_words("l été")).all()
    assert len(normalised_words("")) == 0


def test_alphabetic_words() -> None:
    assert find_words("one 2 -- é3 _").alphabetic == 2
    assert find_words(" ").alphabetic == 0


def test_shingles() -> None:
    words = normalised_words("a b c d a b c")
    found = shingles(words, 3)
    assert len(found) == 5 and found[0] == found[4] and len(set(found.tolist())) == 4
    assert len(shingles(words, 9)) == 1
    assert len(shingles(words[:0], 5)) == 0
