"""What a fetched page says: its main text in blocks, its title and date.

Text that a reader cannot see is left out, and so are links, pictures, and paragraphs that speak to machines.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, NamedTuple

from colosse.assistant.documents.blocks import Read
from colosse.assistant.documents.html import read_html
from colosse.assistant.documents.plain import markdown_blocks
from colosse.assistant.documents.read import finished, read_document, without_orders
from colosse.assistant.search.fetch import Fetched
from colosse.core.errors import ColosseError, UserError

_HTML = ("text/html", "application/xhtml+xml")
_SUFFIX = {"application/pdf": "pdf", "text/markdown": "md", "application/json": "json"}
_MIN_CHARS = 200
"""Less main text than this: the page is read whole instead."""
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0(?:\.0+)?\s*(?:;|$)|font-size\s*:\s*0"
    r"|(?:left|top|text-indent)\s*:\s*-\d{3,}",
    re.IGNORECASE,
)
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+.!|<>~-])")
"""A character of the page that is written so in Markdown."""
_UNSEEN = ("script", "style", "noscript", "template", "iframe", "object", "svg", "form", "button", "select")


class Extracted(NamedTuple):
    """A page that was read.

    Attributes:
        read: its content.
        date: its own, as ISO 8601, or empty.
        num_orders: paragraphs that spoke to machines, and were left out.
    """

    read: Read
    date: str = ""
    num_orders: int = 0


async def extract(page: Fetched) -> Extracted:
    """Read a page.

    Raises:
        UserError: it has no text, or is damaged.
        ColosseError: the package that reads pages is not installed, or its format is read in isolation, which this
            machine does not offer.
    """
    if page.media_type in _HTML:
        found = await asyncio.to_thread(_html, page.url, page.text)
    else:
        read = await read_document(f"page.{_SUFFIX.get(page.media_type, 'txt')}", page.data)
        found = Extracted(read if read.title != "page" else read.model_copy(update={"title": page.url}))
    read, num_orders = without_orders(found.read)
    return Extracted(read, found.date, num_orders)


def _html(url: str, text: str) -> Extracted:
    try:
        import trafilatura
        from lxml import etree
    except ModuleNotFoundError:
        raise ColosseError("trafilatura is not installed", hint="pip install 'colosse[skills]'") from None
    tree = trafilatura.load_html(text)
    if tree is None:
        raise UserError(f"{url} has no text", code="empty_input")
    _remove_hidden(tree)
    seen = etree.tostring(tree, encoding="unicode", method="html")
    metadata = trafilatura.extract_metadata(seen, default_url=url)
    main = trafilatura.extract(
        seen,
        output_format="markdown",
        favor_recall=True,
        include_comments=False,
        include_images=False,
        include_links=False,
        include_tables=True,
    )
    title, blocks = read_html(seen)
    if main and (len(main) >= _MIN_CHARS or not blocks):
        blocks = [
            block if block.kind == "code" else block.model_copy(update={"text": _ESCAPED.sub(r"\1", block.text)})
            for block in markdown_blocks(main)
        ]
    if not blocks:
        raise UserError(f"{url} has no text", code="empty_input")
    known = (metadata.title if metadata else "") or title
    read = finished(url, Read(title=known or "", media_type="text/html", blocks=blocks))
    return Extracted(read, str((metadata.date if metadata else "") or ""))


def _remove_hidden(tree: Any) -> None:
    """Take out what a reader does not see: an instruction in it is meant for machines."""
    for element in list(tree.iter()):
        if element.getparent() is not None and _is_unseen(element):
            element.drop_tree()


def _is_unseen(element: Any) -> bool:
    if not isinstance(element.tag, str) or element.tag in _UNSEEN:  # not a string: a comment
        return True
    given = element.attrib
    hidden = "hidden" in given or given.get("aria-hidden") == "true"
    return hidden or _HIDDEN.search(given.get("style", "")) is not None
