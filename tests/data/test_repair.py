"""Unicode repair: what is broken is mended, what is whole is left alone, ftfy agrees."""

from __future__ import annotations

import ftfy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.data.repair import CONFIG, repair

SENTENCES = [
    "L'été où Noël naquit, le cœur à l'œuvre ; « Ça va ? » coûte 3 € — déjà…",
    "Straße, mañana, smörgåsbord: “quoted” and ‘single’ – naïve façade ½ × 2² ©",
    "Привет, мир. 日本語のテキスト。 العربية ✅ 🙂 ﬁne ｆｕｌｌ",
]


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("L'Ã©tÃ© est lÃ\xa0", "L'été est là"),
        ("donâ€™t", "don’t"),
        ("schÃ¶n\r\nund gut\r", "schön\nund gut\n"),
        ("cafe\u0301", "café"),
        ("ﬁn", "fin"),
        ("a\x00b\x07c\ufeff", "abc"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("page\x0cbreak\u2028line", "page\nbreak\nline"),
        ("def f():\n\treturn 'ok'\n", "def f():\n\treturn 'ok'\n"),
        ("« L’été », dit-il… “non” – 5 € &amp; &eacute;", "« L’été », dit-il… “non” – 5 € &amp; &eacute;"),
    ],
)
def test_repair(broken: str, mended: str) -> None:
    assert repair(broken) == mended


@given(
    sentence=st.sampled_from(SENTENCES),
    start=st.integers(0, 30),
    encoding=st.sampled_from(["", "cp1252", "latin-1", "mac_roman", "cp1251", "cp1250"]),
    around=st.sampled_from(["", " ", "a", "\n"]),
)
@settings(max_examples=200, deadline=None)
def test_it_is_what_ftfy_does(sentence: str, start: int, encoding: str, around: str) -> None:
    text = around + sentence[start:] + around
    if encoding:
        text = text.encode().decode(encoding, errors="ignore")
    assert repair(text) == "\n".join(ftfy.fix_text(line, CONFIG) for line in text.split("\n"))


@given(st.text(st.characters(exclude_characters="\x85")))
@settings(max_examples=200, deadline=None)
def test_repairing_twice_changes_nothing_more(text: str) -> None:
    assert repair(repair(text)) == repair(text)
