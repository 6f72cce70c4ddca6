"""Markdown: front matter, headings, lists, tables, links, images' descriptions, HTML inside; code is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from colosse.assistant.translate.document import Format, Kept, Part, Slot, Source, joined
from colosse.assistant.translate.formats import html
from colosse.assistant.translate.formats.text import has_letter

_FENCE = re.compile(r"^((?:[ ]{0,3}>[ ]?)*[ ]*(?:[-*+][ ]+|\d+[.)][ ]+)?)(`{3,}|~{3,})[^\r\n]*$")
_FRONT = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_FRONT_TEXT = re.compile(
    r"^[ ]*(?:title|description|summary|subtitle|excerpt|abstract)[ ]*:[ ]*(?P<quote>[\"']?)(?P<text>[^\r\n]*?)"
    r"(?P=quote)[ ]*\r?$",
    re.MULTILINE | re.IGNORECASE,
)
_PREFIX = re.compile(
    r"(?:[ \t]{0,3}>[ \t]?)*[ \t]*(?:(?:[-*+]|\d{1,9}[.)])(?:[ \t]+|$)(?:\[[ xX]\][ \t]+)?)*(?:#{1,6}[ \t]+)?"
)
_NOT_TEXT = re.compile(
    r"[ \t]*(?:(?:[-*_][ \t]*){3,}|=+[ \t]*|\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-*:?[ \t]*)*"
    r"|\[[^\]\r\n]+\]:[^\r\n]*|:::[^\r\n]*|\$\$[^\r\n]*)$"
)
_TABLE_RULE = re.compile(r"[ \t>]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_INDENTED = re.compile(r"(?:[ ]{4}|\t)")
_HTML_BLOCK = re.compile(
    r"[ ]{0,3}<(?:!--|/?(?:address|article|aside|blockquote|body|center|details|dialog|dd|div|dl|dt|fieldset|figcaption"
    r"|figure|footer|form|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|nav|ol|p|picture|pre|script|section"
    r"|style|summary|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul|video)\b)",
    re.IGNORECASE,
)
_INLINE = re.compile(
    r"(?P<code>(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<math>\$\$[^$\n]+\$\$|\$(?![\s\d])[^$\n]*[^$\s]\$(?!\d))"
    r"|(?P<escape>\\[!-/:-@\[-`{-~])"
    r"|(?P<auto><(?:[A-Za-z][A-Za-z0-9+.-]*:[^\s<>]*|[\w.+-]+@[\w.-]+)>|\[\^[^\]\s]+\]:?|\[\[[^\]\n]*\]\])"
    r"|(?P<comment><!--.*?-->)"
    r"|(?P<tag></?[A-Za-z][^<>]*>)"
    r"|(?P<image>!\[)"
    r"|(?P<entity>&(?:#\d+|#[xX][0-9A-Fa-f]+|[A-Za-z][A-Za-z0-9]*);)"
    r"|(?P<emphasis>\*{1,3}|(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)|~~)"
    r"|(?P<line>[ \t\\]*(?:\r\n|\n|\r)(?:[ ]{0,3}>[ ]?)*[ \t]*)",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\[!-/:-@\[-`{-~]")
_TARGET = re.compile(
    r"\]\((?:<[^<>\n]*>|[^\s()<>]*(?:\([^\s()]*\)[^\s()]*)*)(?:\s+(?:\"[^\"]*\"|'[^']*'))?\s*\)|\]\[[^\]\n]*\]"
)
_HAZARD = re.compile(r"^([-+*]|\d{1,9}[.)])(?=\s|$)|^(#{1,6}\s|>|=+\s*$|-{2,}|`{3}|~{3}|\||:::|\[[^\]]+\]:|\t| {4})")


def read(text: str) -> Source:
    """Slots for paragraphs, headings, cells, and the titles of the front matter."""
    slots: list[Slot] = []
    position = 0
    if front := _FRONT.match(text):
        titles = _FRONT_TEXT.finditer(text, front.start(1), front.end(1))
        slots += [_front_slot(found) for found in titles if found["text"][:1] not in tuple("|>[{&*")]
        position = front.end()
    for start, end, kind in _blocks(text, position):
        if kind == "html":
            slots += html.slots(text[start:end], start, inline=_inline)
        elif kind == "table":
            slots += _cells(text, start, end)
        else:
            slots.append(_slot(text, start, end))
    slots = [slot for slot in slots if any(isinstance(part, str) and has_letter(part) for part in slot.parts)]
    title = next((text[s.start : s.end] for s in slots if text[: s.start].endswith("# ")), "")
    return Source(text, tuple(slots), title)


def _front_slot(found: re.Match[str]) -> Slot:
    quote = found["quote"]

    def encode(text: str) -> str:
        text = " ".join(text.split())
        if quote:
            return text.replace("\\", "\\\\").replace('"', '\\"') if quote == '"' else text.replace("'", "''")
        # A plain scalar may not hold these; with them it becomes a quoted one.
        unsafe = ": " in text or " #" in text or text.endswith(":") or text[:1] in "&*!|>%@`\"'[]{}#,?-"
        return f'"{text.replace(chr(92), chr(92) * 2).replace(chr(34), chr(92) + chr(34))}"' if unsafe else text

    said = found["text"]
    said = said.replace('\\"', '"') if quote == '"' else said.replace("''", "'") if quote else said
    return Slot(found.start("text"), found.end("text"), (said,), encode)


def _blocks(text: str, position: int) -> Iterator[tuple[int, int, str]]:
    """(start, end, kind) of what holds text; code, rules and definitions are left out."""
    fence = ""
    paragraph: list[int] = []  # start and end of the paragraph that is being read
    table = in_html = in_list = False
    lines = list(re.finditer(r"[^\r\n]*(?:\r\n|\r|\n|$)", text[position:]))
    for number, found in enumerate(lines):
        line = found[0].rstrip("\r\n")
        start, end = position + found.start(), position + found.start() + len(line)
        opening = _FENCE.match(line)
        prefix = len(_PREFIX.match(line)[0])  # type: ignore[index]
        rest = line[prefix:]
        was_table, table = table, False
        if in_html:
            if rest.strip():
                paragraph[1] = end
                continue
            in_html = False
            yield paragraph[0], paragraph[1], "html"
            paragraph = []
        if fence:
            bare = re.sub(r"^(?:[ ]{0,3}>[ ]?)*\s*", "", line).rstrip()
            if bare.startswith(fence) and not bare.strip(fence[0]):
                fence = ""
            continue
        if opening or not rest.strip() or _NOT_TEXT.match(rest) or (not paragraph and _NOT_TEXT.match(line)):
            if paragraph:
                yield paragraph[0], paragraph[1], "text"
            paragraph = []
            fence = opening[2] if opening else ""
            table = "|" in line and bool(_TABLE_RULE.match(line))
            continue
        nested = bool(re.search(r"[-*+]|\d[.)]", line[:prefix]))
        if not paragraph and not in_list and _INDENTED.match(line):
            continue
        following = lines[number + 1][0].rstrip("\r\n") if number + 1 < len(lines) else ""
        if "|" in line and (was_table or (not paragraph and "|" in following and _TABLE_RULE.match(following))):
            table = was_table
            yield start + prefix, end, "table"
            continue
        if _HTML_BLOCK.match(line) and not paragraph:
            in_html, paragraph = True, [start, end]
            continue
        in_list = nested or (in_list and (bool(paragraph) or line[:1] in " \t"))
        if paragraph and nested and line[:prefix].strip(" \t>"):
            yield paragraph[0], paragraph[1], "text"
            paragraph = []
        if paragraph:
            paragraph[1] = end
        else:
            paragraph = [start + prefix, end]
        if "#" in line[:prefix]:
            yield paragraph[0], paragraph[1], "text"
            paragraph = []
    if paragraph:
        yield paragraph[0], paragraph[1], "html" if in_html else "text"


def _slot(text: str, start: int, end: int, cell: bool = False) -> Slot:
    raw = text[start:end].rstrip()
    lines = [bool(_HAZARD.match(line)) for line in raw.splitlines()]

    def finish(written: str) -> str:
        done = written.splitlines(keepends=True)
        for index, line in enumerate(done):
            if not (index < len(lines) and lines[index]):
                body = line.lstrip(" \t>") if index else line
                done[index] = line[: len(line) - len(body)] + _HAZARD.sub(_escaped, body, count=1)
        return "".join(done)

    return Slot(start, start + len(raw), tuple(_inline(raw)), _encoder(raw, "|" if cell else ""), finish)


def _escaped(found: re.Match[str]) -> str:
    marker = found[0]
    if marker[0].isdigit():
        return f"{marker[:-1]}\\{marker[-1]}"
    return marker.lstrip() if marker.isspace() else f"\\{marker}"


def _encoder(raw: str, more: str = "") -> Callable[[str], str]:
    """Escapes what would be markup, but for signs that stand bare in the source's own words."""
    escaped = {found["escape"][1] for found in _INLINE.finditer(raw) if found["escape"]}
    bare = {char for part in _inline(_ESCAPE.sub("", raw)) if isinstance(part, str) for char in part}
    special = {char for char in "*`[]<>~$" + more if char not in bare} | escaped | set(more)
    # An underscore within a word means nothing.
    sign = re.compile(("" if "_" in bare else r"(?<!\w)_|_(?!\w)|") + f"[{re.escape(''.join(special - {'_'}))}]")
    return lambda text: sign.sub(r"\\\g<0>", re.sub(r"\s*[\r\n]+\s*", " ", text))


def _cells(text: str, start: int, end: int) -> Iterator[Slot]:
    for found in re.finditer(r"(?:\\.|`+[^`]*`+|[^|\\])+", text[start:end]):
        body = found[0].strip()
        if body:
            at = start + found.start() + found[0].index(body)
            yield _slot(text, at, at + len(body), cell=True)


def _inline(raw: str) -> list[Part]:
    """The parts of a paragraph."""
    parts: list[Part] = []
    position = 0
    links = _links(raw)
    opened: list[str] = []
    while position < len(raw):
        if position in links:
            role, stop = links[position]
            parts.append(Kept(raw[position:stop], role))  # type: ignore[arg-type]
            position = stop
            continue
        found = _INLINE.match(raw, position)
        if found is None:
            parts.append(raw[position])
            position += 1
            continue
        parts.append(_kept(found, raw, opened))
        position = found.end()
    return joined(parts)


def _kept(found: re.Match[str], raw: str, opened: list[str]) -> Part:
    kind, span = found.lastgroup, found[0]
    if kind == "image":
        return span
    if kind in ("code", "ticks", "math", "auto"):
        return Kept(span)
    if kind == "tag":
        mark = span.endswith("/>") or re.match(r"<(?:br|hr|img|wbr|input)\b", span, re.IGNORECASE)
        return Kept(span, "mark" if mark else "close" if span.startswith("</") else "open")
    if kind == "escape":
        return span[1:]
    if kind == "line":
        hard = "\\" in span or re.match(r"[ ]{2,}[\r\n]", span)
        return Kept(span, "hard" if hard else "soft")
    if kind == "emphasis":
        before, after = raw[found.start() - 1 : found.start()], raw[found.end() : found.end() + 1]
        if span in opened and before and not before.isspace():
            opened[opened.index(span) :] = []
            return Kept(span, "close")
        if after and not after.isspace() and raw.find(span, found.end()) > 0:
            opened.append(span)
            return Kept(span, "open")
        return span
    if kind == "entity":
        return html.decoded(span) if span in ("&amp;", "&quot;", "&apos;", "&#39;") else Kept(span, "mark")
    return Kept(span, "mark")


def _links(raw: str) -> dict[int, tuple[str, int]]:
    """Where the brackets of links and images stand: position to role and end."""
    code = [found.span() for found in re.finditer(r"(`+)(?!`).*?(?<!`)\1(?!`)|\\.", raw, re.DOTALL)][::-1]
    places: dict[int, tuple[str, int]] = {}
    stack: list[int] = []
    position = 0
    while position < len(raw):
        while code and code[-1][1] <= position:
            code.pop()
        if code and code[-1][0] <= position:
            position = code.pop()[1]
            continue
        if raw[position] == "[" and not raw.startswith("[^", position) and not raw.startswith("[[", position):
            stack.append(position)
        elif raw[position] == "]" and stack:
            start = stack.pop()
            if target := _TARGET.match(raw, position):
                first = start - 1 if start and raw[start - 1] == "!" else start
                places[first] = ("open", start + 1)
                places[position] = ("close", target.end())
                position = target.end()
                continue
        position += 1
    return places


FORMAT = Format("markdown", (".md", ".markdown", ".mdx"), read)
