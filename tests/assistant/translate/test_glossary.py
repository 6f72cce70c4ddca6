"""Glossaries: read, found where they occur, enforced with inflection."""

from __future__ import annotations

import pytest

from colosse.assistant.translate.glossary import Term, occurring, read_glossary, terms_used
from colosse.core.errors import UserError


def test_read() -> None:
    text = '\ufeffSource,Target,Note\n"work order",bon de travail,"for machines, only"\n\nvalve,vanne\n'
    assert read_glossary(text) == [Term("work order", "bon de travail", "for machines, only"), Term("valve", "vanne")]
    assert read_glossary("valve;vanne\n") == read_glossary("valve\tvanne\n") == [Term("valve", "vanne")]
    with pytest.raises(UserError, match="line 2 of the glossary"):
        read_glossary("a,b\nc\n")
    with pytest.raises(UserError, match="line 2 of the glossary translates 'Valve' as 'robinet'"):
        read_glossary("valve,vanne\nValve,robinet\n")
    assert len(read_glossary("valve,vanne\nvalve,vanne,again\n")) == 2


@pytest.mark.parametrize(
    ("source", "text", "found"),
    [
        ("work order", "Open the Work orders.", True),
        ("work order", "Open the work-order.", True),
        ("work order", "This work is in order.", False),
        ("set", "the settings", False),
        ("C++", "in C++ it is", True),
        ("阀门", "打开阀门吧", True),
        ("class", "two classes", True),
    ],
)
def test_occurring(source: str, text: str, found: bool) -> None:
    assert bool(occurring([Term(source, "x")], text)) == found


@pytest.mark.parametrize(
    ("target", "answer", "used"),
    [
        ("bon de travail", "Ouvrez les bons de travail.", True),
        ("cheval", "les chevaux", True),
        ("vanne", "la vanne", True),
        ("vanne", "le robinet", False),
        ("réglage", "des reglages", True),
        ("set", "le settings-manager", False),
        ("阀门", "请打开阀门", True),
        ("阀门", "请打开门", False),
    ],
)
def test_terms_used(target: str, answer: str, used: bool) -> None:
    check = terms_used([Term("x", target)], answer)
    assert (check.passed, check.detail) == (used, "" if used else f"x = {target}")
