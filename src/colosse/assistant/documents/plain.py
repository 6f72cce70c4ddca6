"""Readers of formats that are text: plain text, Markdown, tables of values, code."""

from __future__ import annotations

import ast
import codecs
import csv
import io
import re
import warnings
from collections.abc import Iterator

from colosse.assistant.documents.blocks import Block, Kind, Outline

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SAMPLE = 50_000
"""Bytes by which a charset is recognised."""
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*(?:\{/?\*.*\*/\}|\{#[\w-]+\})?\s*$")
_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s+")
_MARKUP = [
    (re.compile(r"!\[([^\]]{0,500})\]\([^)\s]{0,2000}(?:\s[^)]{0,500})?\)"), r"\1"),
    (re.compile(r"\[([^\]]{1,500})\]\([^)\s]{0,2000}(?:\s[^)]{0,500})?\)"), r"\1"),
    (re.compile(r"(\*\*|__)(?=\S)([^*_\n]{1,500}?)(?<=\S)\1"), r"\2"),
]
"""What a reader of Markdown does not see: targets of links, signs of emphasis."""


def decode(data: bytes, declared: str = "") -> str:
    """The text of `data`: by its mark of byte order, as UTF-8, as declared, or in the likeliest old charset.

    Args:
        data: the file.
        declared: charset that the file names.
    """
    for bom, name in _BOMS.items():
        if data.startswith(bom):
            return data.decode(name, errors="replace")
    for name in filter(None, ("utf-8", declared)):
        try:
            return data.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
    return data.decode(_charset(data[:_SAMPLE]), errors="replace")


def _charset(sample: bytes) -> str:
    """The charset of text that is not UTF-8: Western when nearly all of it is ASCII, else by its statistics."""
    wide = sum(byte > 127 for byte in sample)
    if wide < len(sample) * 0.15:
        return "cp1252"
    try:
        from charset_normalizer import from_bytes
    except ModuleNotFoundError:
        return "cp1252"
    best = from_bytes(sample).best()
    return best.encoding if best else "cp1252"


def text_blocks(text: str) -> Iterator[Block]:
    """Paragraphs of plain text, which blank lines separate; wrapped lines are joined."""
    for paragraph in re.split(r"\n[^\S\n]*\n", text):
        lines = [line.strip() for line in paragraph.strip().splitlines()]
        if any(lines):
            is_list = sum(bool(_ITEM.match(line)) for line in lines) > len(lines) / 2
            yield Block(text=("\n" if is_list else " ").join(lines), kind="list" if is_list else "text")


def markdown_blocks(text: str) -> Iterator[Block]:
    """Headings, paragraphs, lists, tables and fenced code of Markdown; front matter is left out."""
    outline, lines = Outline(), list[str]()
    kind: Kind = "text"
    fence = ""

    def done() -> Iterator[Block]:
        body = "\n".join(lines).strip("\n")
        lines.clear()
        if body.strip():
            yield Block(text=_shown(body, kind), section=outline.path, kind=kind)

    for line in _without_front_matter(text).splitlines():
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip().strip(mark[1][0]):
                yield from done()
                fence, kind = "", "text"
            else:
                lines.append(line)
        elif mark:
            yield from done()
            fence, kind = mark[1], "code"
        elif found := _HEADING.match(line):
            yield from done()
            heading, kind = _shown(found[2], "text"), "text"
            if heading:
                yield Block(text=heading, section=outline.enter(len(found[1]), heading), kind="heading")
        elif not line.strip():
            if kind != "list":  # the items of a list may stand apart
                yield from done()
                kind = "text"
        else:
            now: Kind = "list" if _ITEM.match(line) else "table" if line.lstrip().startswith("|") else "text"
            if now != kind and not (kind == "list" and line[:1].isspace()):
                yield from done()
                kind = now
            lines.append(line)
    yield from done()


def _without_front_matter(text: str) -> str:
    return re.sub(r"\A---\n.*?\n---\n", "", text.replace("\r\n", "\n"), count=1, flags=re.DOTALL)


def _shown(text: str, kind: Kind) -> str:
    """Markdown as it is read."""
    if kind == "code":
        return text
    for pattern, shown in _MARKUP:
        text = pattern.sub(shown, text)
    if kind == "text":
        return " ".join(text.split())
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip(" |-:"))


def table_blocks(text: str, rows_of_a_block: int = 20) -> Iterator[Block]:
    """Rows of comma, semicolon or tab separated values, each with the names of its columns."""
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff(text[:4096], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        rows = [row for row in csv.reader(io.StringIO(text), dialect) if any(cell.strip() for cell in row)]
    except csv.Error:
        yield from text_blocks(text)
        return
    lines = rows_as_text(rows)
    for start in range(0, len(lines), rows_of_a_block):
        yield Block(text="\n".join(lines[start : start + rows_of_a_block]), kind="table")


def rows_as_text(rows: list[list[str]]) -> list[str]:
    """One line for each row below the first, its cells named by the first: `name: Ada; born: 1815`."""
    if len(rows) < 2:
        return ["; ".join(cell.strip() for cell in row if cell.strip()) for row in rows]
    header = [cell.strip() for cell in rows[0]]
    lines = []
    for row in rows[1:]:
        names = header + [""] * (len(row) - len(header))
        cells = [(name, " ".join(cell.split())) for name, cell in zip(names, row, strict=False)]
        lines.append("; ".join(f"{name}: {cell}" if name else cell for name, cell in cells if cell))
    return lines


def python_blocks(text: str) -> Iterator[Block]:
    """The definitions of a Python file, methods one by one, and what stands between them; else as `code_blocks`."""
    try:
        with warnings.catch_warnings():  # of strings in what is read
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield from code_blocks(text)
        return
    lines = text.splitlines(keepends=True)
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

    def cut(nodes: list[ast.stmt], start: int, end: int, path: str) -> Iterator[Block]:
        """The lines from `start` up to `end`, a block for each definition among `nodes`."""
        at = start
        for node in nodes:
            if not isinstance(node, named):
                continue
            first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)]) - 1
            last = node.end_lineno or node.lineno
            if first < at:  # on the line of another
                continue
            yield from block(at, first, path)
            inside = f"{path}.{node.name}" if path else node.name
            if isinstance(node, ast.ClassDef):
                yield from cut(node.body, first, last, inside)
            else:
                yield from block(first, last, inside)
            at = last
        yield from block(at, end, path)

    def block(start: int, end: int, path: str) -> Iterator[Block]:
        code = "".join(lines[start:end]).strip("\n")
        if code.strip():
            yield Block(text=code.rstrip(), section=path, kind="code")

    yield from cut(tree.body, 0, len(lines), "")


def code_blocks(text: str) -> Iterator[Block]:
    """Pieces of code: at blank lines before a line that is not indented."""
    for piece in re.split(r"\n[^\S\n]*\n(?=\S)", text):
        if piece.strip():
            yield Block(text=piece.strip("\n").rstrip(), kind="code")
