"""Documents as passages and leaves: nothing lost, nothing twice, cut along the headings."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from colosse.assistant.documents.blocks import Block, Read
from colosse.assistant.summarize.tree import PASSAGE_TOKENS, leaves, pieces_of, size

BLOCKS = st.lists(
    st.builds(
        Block,
        text=st.text(alphabet="ab .\n", min_size=1, max_size=60).filter(str.strip),
        page=st.none() | st.integers(1, 3),
        section=st.sampled_from(["", "A", "A › B", "A › C", "D"]),
        kind=st.sampled_from(["heading", "text", "list"]),
    ),
    max_size=30,
)


def squeezed(texts: list[str]) -> str:
    return "".join("".join(texts).split())


@settings(deadline=None)
@given(st.lists(BLOCKS, min_size=1, max_size=3), st.integers(10, 80))
def test_every_block_is_in_one_leaf(documents: list[list[Block]], room: int) -> None:
    reads = [Read(title=f"T{i}", media_type="text/plain", blocks=blocks) for i, blocks in enumerate(documents)]
    pieces = pieces_of(reads)
    assert squeezed([piece.text for piece in pieces]) == squeezed([b.text for read in reads for b in read.blocks])
    assert [s.id for piece in pieces for s in piece.sources] == list(range(1, sum(bool(p.sources) for p in pieces) + 1))
    groups = leaves(pieces, room)
    assert [piece for group in groups for piece in group] == pieces
    assert all(size(group) <= room or len(group) == 1 for group in groups)


def test_leaves_follow_the_headings() -> None:
    sections = [("A", 3), ("A › B", 3), ("C", 4)]
    blocks = [Block(text=f"{'word ' * 60}{i}.", section=name) for name, count in sections for i in range(count)]
    pieces = pieces_of([Read(title="", media_type="", blocks=blocks)])
    groups = leaves(pieces, size(pieces[:4]))
    assert [{piece.path[1] for piece in group} for group in groups] == [{"A"}, {"C"}]


def test_long_blocks_are_cut_at_sentences() -> None:
    text = "This is a sentence of some words. " * 100
    pieces = pieces_of([Read(title="", media_type="", blocks=[Block(text=text, page=7)])])
    assert len(pieces) > 3
    assert all(piece.text.endswith(".") and size([piece]) <= PASSAGE_TOKENS + 2 for piece in pieces)
    assert {piece.sources[0].page for piece in pieces} == {7}
