"""The formats of documents that are translated, one module each: read into slots, write back."""

from __future__ import annotations

import re
from pathlib import Path

from colosse.assistant.translate.document import Format
from colosse.assistant.translate.formats import docx, html, json, markdown, po, subtitles, text, xliff
from colosse.core.errors import UserError, nearest

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        text.FORMAT,
        markdown.FORMAT,
        html.FORMAT,
        *subtitles.FORMATS,
        po.FORMAT,
        json.FORMAT,
        xliff.FORMAT,
        docx.FORMAT,
    )
}
_MARKUP = re.compile(r"^ {0,3}(?:#{1,6} |```|~~~|[-*+] |> |\d+[.)] )|\]\(|`[^`\n]+`|\*\*\w", re.MULTILINE)


def format_of(name: str, text: str = "") -> Format:
    """The format called `name`, or of a file of that name, or else Markdown if `text` looks so, or plain text.

    Raises:
        UserError: one word that is no format; names the nearest.
    """
    if name in FORMATS:
        return FORMATS[name]
    suffix = Path(name).suffix.lower()
    if name and not suffix and Path(name).name == name and name.islower():
        raise UserError(f"unknown format {name!r}", hint=nearest(name, FORMATS), param="format")
    by_suffix = next((form for form in FORMATS.values() if suffix in form.suffixes), None)
    return by_suffix or FORMATS["markdown" if _MARKUP.search(text) else "text"]
