"""Word documents: the text of paragraphs, tables, headers, footers and notes; formatting and all other parts stay."""

from __future__ import annotations

import io
import re
import zipfile
from html import unescape

from colosse.assistant.translate.document import Format, Kept, Part, Role, Slot, Source, joined
from colosse.assistant.translate.formats.text import has_letter
from colosse.core.errors import TooLargeError, UserError

MAX_BYTES = 256 << 20
"""Of the unpacked document; a longer one is a mistake or a bomb."""
_TEXTS = re.compile(r"word/(?:document\d*|header\d*|footer\d*|footnotes|endnotes)\.xml")
_BETWEEN = "\0"
"""Between two parts of the document: no XML holds it."""
_TOKEN = re.compile(r"<w:t(?: [^>]*)?>(?P<text>[^<]*)</w:t>|(?P<paragraph></?w:p(?: [^>]*)?>)")
_FORMAT = re.compile(r"<w:rPr>(.*?)</w:rPr>", re.DOTALL)
_SILENT = re.compile(
    r"</w:r>(?:<w:proofErr [^>]*/>|<w:bookmark(?:Start|End) [^>]*/>|\s)*<w:r(?: [^>]*)?>(?:<w:rPr>.*?</w:rPr>)?"
    r"(?:<w:lastRenderedPageBreak/>)?",
    re.DOTALL,
)


def unpack(data: bytes) -> str:
    """The texts of a document, one after the other.

    Raises:
        UserError: not a Word document.
        TooLargeError: over `MAX_BYTES`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = _names(archive)
            if sum(archive.getinfo(name).file_size for name in names) > MAX_BYTES:
                raise TooLargeError(f"the document is longer than {MAX_BYTES >> 20} MiB", hint="give it in parts")
            texts = [archive.read(name).decode("utf-8") for name in names]
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"this is not a Word document (.docx): {error}", code="bad_docx") from None
    if not texts:
        raise UserError("this is not a Word document (.docx): it has no word/document.xml", code="bad_docx")
    return _BETWEEN.join(texts)


def pack(data: bytes, text: str) -> bytes:
    """The document with these texts; all other parts are copied."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(made, "w") as new:
        texts = dict(zip(_names(archive), text.split(_BETWEEN), strict=True))
        for entry in archive.infolist():
            content = texts.get(entry.filename)
            new.writestr(entry, archive.read(entry) if content is None else content.encode(), entry.compress_type)
    return made.getvalue()


def _names(archive: zipfile.ZipFile) -> list[str]:
    return sorted(name for name in archive.namelist() if _TEXTS.fullmatch(name))


def read(text: str) -> Source:
    """A slot for every paragraph: a change of formatting within it is a step that keeps its order."""
    slots: list[Slot] = []
    group: list[re.Match[str]] = []
    for found in _TOKEN.finditer(text):
        if found["paragraph"] is None:
            if group and _BETWEEN in text[group[-1].end() : found.start()]:
                slots += _slots(text, group)
                group = []
            group.append(found)
        else:
            slots += _slots(text, group)
            group = []
    return Source(text, (*slots, *_slots(text, group)))


def _slots(text: str, group: list[re.Match[str]]) -> list[Slot]:
    if not any(has_letter(unescape(run["text"])) for run in group):
        return []
    first, last = group[0], group[-1]
    parts: list[Part] = [Kept(text[first.start() : first.start("text")], "mark")]
    pending = ""
    for index, run in enumerate(group):
        if index:
            between = text[group[index - 1].end("text") : run.start("text")]
            inner = text[group[index - 1].end() : run.start()]
            if not inner or (_SILENT.fullmatch(inner) and _format(inner) == _formatting_before(text, group[index - 1])):
                pending += between
            else:
                role: Role = "hard" if re.search(r"<w:(?:br|tab|cr)[ />]", inner) else "step"
                parts.append(Kept(pending + between, role))
                pending = ""
        parts.append(unescape(run["text"]))
    parts.append(Kept(pending + text[last.end("text") : last.end()], "mark"))
    return [Slot(first.start(), last.end(), tuple(joined(parts)), _encode, _with_spaces)]


def _format(xml: str) -> str:
    found = _FORMAT.search(xml)
    return found[1] if found else ""


def _formatting_before(text: str, run: re.Match[str]) -> str:
    """The formatting of the run that a text is in."""
    start = max(text.rfind("<w:r>", 0, run.start()), text.rfind("<w:r ", 0, run.start()))
    return _format(text[start : run.start()])


def _encode(text: str) -> str:
    text = "".join(char for char in text if char in "\t\n" or ord(char) >= 32)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _with_spaces(xml: str) -> str:
    """Spaces at the ends of texts count."""
    return xml.replace("<w:t>", '<w:t xml:space="preserve">')


def _skeleton(text: str) -> list[str]:
    return re.split(r"<w:t(?: [^>]*)?>[^<]*</w:t>", text)


FORMAT = Format("docx", (".docx",), read, _skeleton, unpack=unpack, pack=pack)
