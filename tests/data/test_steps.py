"""Steps in their order, with what each changed and dropped."""

from __future__ import annotations

from pathlib import Path

from colosse.data.config import StepsConfig
from colosse.data.document import EXAMPLES, EXCERPT, Document, Tally
from colosse.data.steps import build, run
from tests.data.conftest import FRENCH, prose
from tests.data.test_quality import GOOD_EN, GOOD_FR


def test_the_order_is_that_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "eval.txt").write_text(GOOD_EN)
    config = StepsConfig(
        languages=["fr"], quality=["gopher", "c4"], pii=True, decontaminate=[tmp_path / "eval.txt"], dedup="none"
    )
    names = [name for name, _ in build(config)]
    assert names == ["boilerplate", "repair", "empty", "language", "gopher", "c4", "pii", "contamination"]
    assert [name for name, _ in build(StepsConfig(boilerplate=False, repair=False))] == ["empty"]


def test_what_happens_is_counted(tmp_path: Path) -> None:
    (tmp_path / "eval.txt").write_text(GOOD_FR)
    steps = build(StepsConfig(languages=["fr"], quality=["fineweb"], pii=True, decontaminate=[tmp_path / "eval.txt"]))
    good = prose(1, 12, FRENCH)
    documents = [
        Document(good, "kept"),
        Document(good.replace("é", "Ã©") + "\nJean, jean@exemple.fr.", "mended"),
        Document(GOOD_EN, "english"),
        Document("x" * 1000, "named french", language="fr"),
        Document(GOOD_FR, "evaluation"),
        Document(" \n", "empty"),
        Document("<html><body></body></html>", "page", html=True),
    ]
    tally = Tally()
    kept = [document for document in documents if run(steps, document, tally)]
    assert [document.name for document in kept] == ["kept", "mended"]
    assert kept[1].text == good + "\nJean, email@example.com."
    assert tally.changed == {"repair": 1, "pii": 1}
    assert tally.languages == {"fr": 2}
    assert set(tally.dropped) == {
        "language", "fineweb/line_punctuation", "contamination", "empty", "boilerplate/no_main_text",
    }  # fmt: skip
    assert tally.dropped_bytes["language"] == len(GOOD_EN)
    assert tally.examples["language"][0]["document"] == "english"
    assert tally.examples["language"][0]["detail"].startswith("en, ")
    assert tally.examples["contamination"][0]["text"] == GOOD_FR[:EXCERPT]


def test_tallies_add_up_in_order() -> None:
    one, other = Tally(read=1), Tally(read=2)
    for number in range(3):
        one.drop("rule", f"one {number}", "text", count=4)
        other.drop("rule", f"other {number}", "text", count=4)
    other.languages["fr"] += 1
    one.add(Tally.from_json(other.to_json()))
    assert (one.read, one.dropped["rule"], one.dropped_bytes["rule"], one.languages["fr"]) == (3, 6, 24, 1)
    assert [e["document"] for e in one.examples["rule"]] == ["one 0", "one 1", "one 2", "other 0"]
    assert len(one.examples["rule"]) == EXAMPLES
