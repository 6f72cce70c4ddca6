"""Reading a document of any format. Text is read here; what needs a parser of its own is read in the sandbox."""

from __future__ import annotations

import asyncio
from pathlib import PurePath
from typing import NamedTuple

from colosse.assistant.documents import plain
from colosse.assistant.documents.blocks import Block, Read
from colosse.assistant.documents.html import declared_charset, read_html
from colosse.assistant.documents.isolated import read_isolated
from colosse.assistant.languages import guess_language
from colosse.assistant.outside import gives_orders
from colosse.core.errors import TooLargeError, UserError

__all__ = ["Block", "Read", "read_document"]

MAX_BYTES = 64 << 20
"""A larger file is refused."""
MAX_TEXT_BYTES = 16 << 20
"""The same for formats that are text."""
SAMPLE_CHARS = 20_000

MARKDOWN, HTML, PLAIN, TABLE = "text/markdown", "text/html", "text/plain", "text/csv"
_PYTHON = "text/x-python"
_BY_SUFFIX = {
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".mdx": MARKDOWN,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
    ".csv": TABLE,
    ".tsv": TABLE,
    ".py": _PYTHON,
    ".pyi": _PYTHON,
}
_CODE_SUFFIXES = (
    ".c .h .cc .cpp .cxx .hpp .cs .css .dart .ex .erl .go .graphql .hs .ini .java .jl .js .json .jsx .kt .lua .m .ml "
    ".php .pl .proto .ps1 .r .rb .rs .scala .scss .sh .sql .swift .toml .ts .tsx .vue .xml .yaml .yml .zig"
)
_CODE = frozenset(_CODE_SUFFIXES.split())
OFFICE = "application/vnd.openxmlformats-officedocument."
BINARY = {
    "pdf": "application/pdf",
    "docx": OFFICE + "wordprocessingml.document",
    "pptx": OFFICE + "presentationml.presentation",
    "xlsx": OFFICE + "spreadsheetml.sheet",
}
_PARTS = {b"word/document.xml": "docx", b"ppt/presentation.xml": "pptx", b"xl/workbook.xml": "xlsx"}
"""The file that each Office format has in its archive."""
_KNOWN = "PDF, docx, pptx, xlsx, HTML, Markdown, text, CSV and code can be read"


class _Format(NamedTuple):
    media_type: str
    binary: str = ""


def format_of(name: str, data: bytes) -> _Format:
    """What a file is, by its content first and its name second.

    Raises:
        UserError: none that can be read.
    """
    if b"%PDF-" in data[:1024]:
        return _Format(BINARY["pdf"], "pdf")
    if data.startswith(b"PK"):
        for part, binary in _PARTS.items():
            if part in data:
                return _Format(BINARY[binary], binary)
        raise _refused(name, "is an archive that is damaged or not a document")
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise UserError(
            f"{name} is an old Office file, or one with a password",
            hint="save it as docx, pptx or xlsx, without a password",
            code="unreadable_document",
        )
    suffix = PurePath(name).suffix.lower()
    if suffix[1:] in BINARY:
        raise _refused(name, f"is no {suffix[1:]}, whatever its name says")
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if not wide and b"\0" in data[:8192]:
        raise _refused(name, "is not a document")
    if suffix in _BY_SUFFIX:
        return _Format(_BY_SUFFIX[suffix])
    if suffix in _CODE:
        return _Format(f"text/x-{suffix[1:]}")
    head = data[:512].lstrip().lower()
    return _Format(HTML if head.startswith((b"<!doctype html", b"<html")) else PLAIN)


async def read_document(name: str, data: bytes) -> Read:
    """Read a document.

    Args:
        name: of the file, or its address; its suffix tells formats that look alike.
        data: its bytes.

    Raises:
        UserError: empty, damaged, encrypted, or not a document that can be read.
        TooLargeError: over a limit.
        ColosseError: the format is read in isolation, which this machine does not offer.
    """
    if not data.strip():
        raise UserError(f"{name} is empty", code="empty_input")
    form = format_of(name, data)
    limit = MAX_BYTES if form.binary else MAX_TEXT_BYTES
    if len(data) > limit:
        raise TooLargeError(f"{name} is longer than {limit >> 20} MiB", hint="give it in parts")
    if form.binary:
        read = finished(name, await read_isolated(name, form.binary, form.media_type, data))
    else:
        read = await asyncio.to_thread(_read_text, name, form.media_type, data)
    if not read.blocks:
        hint = "recognise the text of scanned pages first" if form.binary == "pdf" else ""
        raise UserError(f"{name} has no text", hint=hint, code="empty_input")
    return read


def _read_text(name: str, media_type: str, data: bytes) -> Read:
    title = ""
    if media_type == HTML:
        title, blocks = read_html(plain.decode(data, declared_charset(data)))
    else:
        text = plain.decode(data).replace("\r\n", "\n").replace("\r", "\n")
        match media_type:
            case "text/plain":
                blocks = list(plain.text_blocks(text))
            case "text/markdown":
                blocks = list(plain.markdown_blocks(text))
            case "text/csv":
                blocks = list(plain.table_blocks(text))
            case "text/x-python":
                blocks = list(plain.python_blocks(text))
            case _:
                blocks = list(plain.code_blocks(text))
    return finished(name, Read(title=title, media_type=media_type, blocks=blocks))


def finished(name: str, read: Read) -> Read:
    """With the title and the language that can be told from the content."""
    heading = next((block.text for block in read.blocks[:20] if block.kind == "heading"), "")
    prose = " ".join(block.text for block in read.blocks if block.kind != "code")[:SAMPLE_CHARS]
    title = read.title or heading or PurePath(name).stem or name
    return read.model_copy(update={"title": title[:300], "language": guess_language(prose)})


def without_orders(read: Read) -> tuple[Read, int]:
    """A document without what speaks to machines in its title, headings and paragraphs, and how many of these it had.

    Code is kept: to a reader it is code, and to a model it stands between the marks of a passage.
    """
    kept = [
        block.model_copy(update={"section": ""}) if gives_orders(block.section) else block
        for block in read.blocks
        if block.kind == "code" or not gives_orders(block.text)
    ]
    title = "" if gives_orders(read.title) else read.title
    return read.model_copy(update={"title": title, "blocks": kept}), len(read.blocks) - len(kept)


def _refused(name: str, what: str) -> UserError:
    return UserError(f"{name} {what}", hint=_KNOWN, code="unreadable_document")
