"""Reading HTML with the standard library alone: what a reader sees of the main part, in blocks."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

from colosse.assistant.documents.blocks import Block, Kind, Outline
from colosse.assistant.documents.plain import rows_as_text

_UNSEEN, _ASIDE, _MAIN, _BREAKS, _VOID = (
    frozenset(names.split())
    for names in (
        "script style noscript template svg math iframe object canvas form select button head",
        "nav footer aside header",
        "main article",
        "p div section main article header footer nav aside blockquote ul ol dl dt dd li table tr pre figure "
        "figcaption h1 h2 h3 h4 h5 h6 hr address details summary body",
        "area base br col embed hr img input link meta source track wbr",
    )
)
"""Elements that are not seen, that surround a text on every page of a site, that hold it, that end a paragraph, that
are empty."""
_NO_TAG = re.compile(r"<(?![a-zA-Z/!?][^<>]{0,4000}>)")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.blocks: list[tuple[Block, bool]] = []
        self._outline = Outline()
        self._open: list[str] = []
        self._around: Counter[str] = Counter()
        self._text: list[str] = []
        self._items: list[str] = []
        self._rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._text.append("\n")
            return
        if tag in _VOID:
            return
        given = dict(attrs)
        hidden = "hidden" in given or given.get("aria-hidden") == "true" or _is_hidden(given.get("style"))
        if tag in _BREAKS and not self._inside("table"):
            self._flush()
        if tag == "tr" and self._inside("table"):
            self._rows.append([])
        self._open.append("template" if hidden else tag)
        self._around[self._open[-1]] += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title" and not self.title:
            self.title = " ".join("".join(self._text).split())
            self._text.clear()
        if tag in ("td", "th") and self._rows:
            self._rows[-1].append(" ".join("".join(self._text).split()))
            self._text.clear()
        elif tag in _BREAKS and (tag == "table" or not self._inside("table")):
            self._flush()
        # A tag that nothing opened closes nothing; one that was left open ends with the one around it.
        for index in range(len(self._open) - 1, max(len(self._open) - 50, -1), -1):
            if self._open[index] == tag or (self._open[index] == "template" and index == len(self._open) - 1):
                self._around.subtract(self._open[index:])
                del self._open[index:]
                break
        if tag == "table" and self._rows:
            rows, self._rows = [row for row in self._rows if any(row)], []
            self._add("\n".join(rows_as_text(rows)), "table")
        if tag in ("ul", "ol") and self._items and not self._inside("ul", "ol"):
            items, self._items = self._items, []
            self._add("\n".join(f"- {item}" for item in items), "list")

    def handle_data(self, data: str) -> None:
        if "title" in self._open[-1:] or not self._inside(*_UNSEEN):
            self._text.append(data)

    def finish(self) -> None:
        """End what the page left open."""
        self.close()
        self._flush()
        for tag in ("table", "ul"):
            self._open, self._around = [tag], Counter([tag])
            self.handle_endtag(tag)

    def _inside(self, *tags: str) -> bool:
        return any(self._around[tag] > 0 for tag in tags)

    def _flush(self) -> None:
        text = "".join(self._text)
        self._text.clear()
        if self._inside("pre"):
            self._add(text.strip("\n"), "code")
            return
        text = " ".join(text.split())
        if not text:
            return
        level = next((level for level in range(1, 7) if self._inside(f"h{level}")), 0)
        if level:
            self._outline.enter(level, text)
            self._add(text, "heading")
        elif self._inside("li"):
            self._items.append(text)
        else:
            self._add(text, "text")

    def _add(self, text: str, kind: Kind) -> None:
        main = self._inside(*_MAIN)
        if text.strip() and (main or not self._inside(*_ASIDE)):
            self.blocks.append((Block(text=text, section=self._outline.path, kind=kind), main))


def _is_hidden(style: str | None) -> bool:
    return bool(style and re.search(r"display\s*:\s*none|visibility\s*:\s*hidden", style))


def read_html(text: str) -> tuple[str, list[Block]]:
    """Title and blocks of a page: of its main part (`main`, `article`) when that has most of the text."""
    reader = _Reader()
    # The parser looks for the end of a tag or comment again and again where there is none: such signs are made text.
    reader.feed(_NO_TAG.sub("&lt;", _without_comments(text)))
    reader.finish()
    main = [block for block, inside in reader.blocks if inside]
    every = [block for block, _ in reader.blocks]
    heavy = sum(len(block.text) for block in main) > sum(len(block.text) for block in every) / 2
    return reader.title, main if heavy else every


def _without_comments(text: str) -> str:
    """The text outside of comments, in one pass; one that is never closed is the rest of the page."""
    first, *others = text.split("<!--")
    return first + "".join(rest for _, _, rest in (piece.partition("-->") for piece in others))


def declared_charset(data: bytes) -> str:
    """The charset that a page's beginning names."""
    found = re.search(rb"<meta[^>]{0,200}charset=[\"']?([\w-]{2,40})", data[:4096], re.IGNORECASE)
    return found[1].decode("ascii") if found else ""
