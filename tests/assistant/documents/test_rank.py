"""Folding and ranking."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.assistant import embed
from colosse.assistant.documents.rank import bm25, folded, fused, query_terms, rank, terms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("l'école", "ecole"),
        ("L’École", "ECOLE"),
        ("jusqu'à l'été", "a ete"),
        ("cœur", "coeur"),
        ("les chevaux", "les cheval"),
        ("gâteaux", "gateau"),
        ("queries", "query"),
        ("snake_case-word", "snake case word"),
        ("ﬁle", "file"),
        ("３.５", "3 5"),
        ("e\u0301te\u0301", "été"),
    ],
)
def test_what_is_the_same_when_folded(one: str, other: str) -> None:
    assert folded(one) == folded(other)


def test_what_is_not_the_same() -> None:
    assert folded("virus") == "virus" and folded("class") == "class" and folded("v1.2s") == "v1 2s"
    assert terms("東京都庁") == ["東京", "京都", "都庁"] and terms("水") == ["水"]


@settings(derandomize=True, deadline=None)
@given(st.text())
def test_folding_is_plain_and_stable(text: str) -> None:
    plain = folded(text)
    assert all(part.isalnum() for part in plain.split())
    assert plain == plain.lower()


def test_the_words_of_a_query() -> None:
    assert query_terms("Quelle est la durée du préavis du préavis ?") == ["duree", "preavis"]
    assert query_terms("to be or not to be") == ["to", "be", "or", "not"]
    assert query_terms("?!") == []


def test_bm25_prefers_rare_words_and_short_texts() -> None:
    texts = [["common"], ["common", "rare"], ["common", "rare", *["x"] * 5], []]
    scores = bm25(["common", "rare"], texts)
    assert scores[1] > scores[2] > scores[0] > scores[3] == 0
    assert bm25(["x"], []) == []


def test_fusion_counts_places_not_scores() -> None:
    assert [item for item, _ in fused([([1, 2, 3], 1.0), ([3, 1], 1.0)])] == [1, 3, 2]
    assert fused([]) == []


def test_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["Die Katze schläft.", "Le cheval galope dans le pré.", "Taxes rise in March."]
    assert rank("chevaux", texts, 1) == [1]
    assert rank("anything", [], 5) == []
    if embed.available():
        assert rank("a horse runs across a meadow", texts, 3)[0] == 1
    monkeypatch.setattr(embed, "available", lambda: False)
    assert rank("chevaux", texts, 5) == [1]
