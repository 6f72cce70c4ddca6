"""Passages: the whole text, in order, within bounds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.assistant.chat import count_tokens
from colosse.assistant.documents.blocks import Block
from colosse.assistant.documents.passages import passages_of
from colosse.assistant.documents.plain import markdown_blocks

BLOCKS = st.lists(
    st.builds(
        Block,
        text=st.text(alphabet="ab é.!\n", min_size=1, max_size=400).filter(str.strip),
        page=st.sampled_from([None, 1, 2]),
        section=st.sampled_from(["", "A", "A › B"]),
        kind=st.sampled_from(["text", "code", "list"]),
    ),
    max_size=8,
)


@settings(derandomize=True, deadline=None)
@given(BLOCKS)
def test_nothing_is_lost_doubled_or_too_long(blocks: list[Block]) -> None:
    found = passages_of(blocks, 30)
    together = "".join("".join(p.text for p in found).split())
    assert together == "".join("".join(b.text for b in blocks).split())
    assert all(count_tokens(p.text) <= 30 + 2 * len(blocks) and p.text.strip() for p in found)


def test_a_passage_has_one_page_and_one_section() -> None:
    blocks = [
        Block(text="one", page=1, section="A"),
        Block(text="two", page=1, section="A"),
        Block(text="three", page=2, section="A"),
        Block(text="four", page=2, section="B"),
    ]
    assert [(p.text, p.page, p.section) for p in passages_of(blocks)] == [
        ("one\n\ntwo", 1, "A"),
        ("three", 2, "A"),
        ("four", 2, "B"),
    ]


def test_long_text_ends_at_sentences() -> None:
    text = " ".join(f"Sentence number {n} says something about bread." for n in range(200))
    found = passages_of([Block(text=text)])
    assert all(p.text.endswith("bread.") and 120 <= count_tokens(p.text) <= 200 for p in found)


def test_headings_lead_what_follows_and_are_kept_when_nothing_does() -> None:
    blocks = list(markdown_blocks("# Book\n\n## One\n\ntext\n\n## Empty\n\n## Two\n\nmore\n\n# Last\n"))
    assert [(p.text, p.section) for p in passages_of(blocks)] == [
        ("text", "Book › One"),
        ("Empty", "Book › Empty"),
        ("more", "Book › Two"),
        ("Last", "Last"),
    ]
