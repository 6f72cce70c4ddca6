"""Plain text: paragraphs, lines, blank lines and indents."""

from __future__ import annotations

import re

from colosse.assistant.translate.document import Format, Kept, Slot, Source

_LINE = re.compile(r"[^\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")
_LETTER = re.compile(r"[^\W\d_]")
_ENDS = re.compile(r"[.!?…:;。！？：；][\"'»”’)\]]*\s*$")
_WRAPPED_FROM = 50
"""Characters from which a line that ends within a sentence is taken for one that an editor wrapped."""
_BREAK = re.compile(r"[^\S\n]*\r?\n[^\S\r\n]*")


def has_letter(text: str) -> bool:
    """Whether there is something to translate in it."""
    return _LETTER.search(text) is not None


def read(text: str) -> Source:
    """A slot for every line, or for every run of lines that were wrapped by width."""
    slots: list[Slot] = []
    for found in _LINE.finditer(text):
        line = found[0].lstrip("\ufeff \t\u00a0\u3000")
        start, end = found.end() - len(line), found.start() + len(found[0].rstrip())
        if not has_letter(line):
            continue
        if slots and _goes_on(text, slots[-1], start, text[start:end]):
            before = slots.pop()
            parts = (*before.parts, Kept(text[before.end : start], "soft"), text[start:end])
            slots.append(Slot(before.start, end, parts, _one_line))
        else:
            slots.append(Slot(start, end, (text[start:end],), _one_line))
    return Source(text, tuple(slots))


def _goes_on(text: str, before: Slot, start: int, line: str) -> bool:
    last = before.parts[-1]
    return (
        isinstance(last, str)
        and len(last) >= _WRAPPED_FROM
        and not _ENDS.search(last)
        and _BREAK.fullmatch(text[before.end : start]) is not None
        and re.match(r"[^\W\d_]|[\"'«(“‘]", line) is not None
    )


def _one_line(text: str) -> str:
    return re.sub(r"[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+", " ", text)


def _skeleton(text: str) -> list[str]:
    """Line ends, indents, and which lines have words."""
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        body = line.strip()
        indent = line[: len(line) - len(line.lstrip())] if body else line
        words = "…" if has_letter(body) else body
        lines.append(indent + words + (line[len(line.rstrip()) :] if body else ""))
    return lines


FORMAT = Format("text", (".txt", ".text"), read, _skeleton)
