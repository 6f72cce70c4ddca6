"""Reads one PDF, docx, pptx or xlsx: run alone inside of the sandbox, where nothing else of ours is.

`python parse.py pdf` reads the file `input` and writes `output.json`: `{"title", "num_pages", "items"}`, each item
`{"kind", "text" or "rows", "level", "page"}`; or `{"error": what is wrong with the file}`.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

MAX_PAGES = 5000
MAX_UNPACKED = 512 << 20
"""Bytes that an archive may say it unpacks to."""
MAX_CELLS = 1_000_000
EDGE_LINES = 2
"""Lines at the top and bottom of a page that may be a running header or footer."""
Item = dict[str, Any]


class RefusedError(Exception):
    """The file cannot be read, and why: the rest of a sentence that begins with its name."""


def read_pdf(path: str) -> Item:
    """Lines of each page become headings (larger letters) and paragraphs; running headers and footers are left out."""
    import pypdfium2 as pdfium

    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise RefusedError("has a password" if locked else "is damaged: not a whole PDF") from None
    if len(document) > MAX_PAGES:
        raise RefusedError(f"has {len(document)} pages, at most {MAX_PAGES} are read")
    pages = [list(_lines(document[index])) for index in range(len(document))]
    running = _running(pages)
    sizes: Counter[float] = Counter()
    for page in pages:
        for text, size, _ in page:
            sizes[size] += len(text)
    body = sizes.most_common(1)[0][0] if sizes else 0.0
    larger = sorted((size for size in sizes if size > body * 1.12), reverse=True)
    levels = {size: min(rank, 6) for rank, size in enumerate(larger, 1)}
    items: list[Item] = []
    for number, page in enumerate(pages, 1):
        kept = [
            line
            for index, line in enumerate(page)
            if not (min(index, len(page) - 1 - index) < EDGE_LINES and _shape(line[0]) in running)
        ]
        for item in _paragraphs(kept, levels):
            before = items[-1] if items else None
            goes_on = before and before["kind"] == item["kind"] == "text" and before["page"] == number - 1
            if before and goes_on and before["text"][-1:] not in '.!?…:»"”' and item["text"][:1].islower():
                before["text"] = _joined(before["text"], item["text"])
            else:
                items.append({**item, "page": number})
    title = (document.get_metadata_dict(skip_empty=True) or {}).get("Title", "")
    return {"title": title, "num_pages": len(document), "items": items}


def _lines(page: Any) -> Iterator[tuple[str, float, float]]:
    """(text, size of its letters, height of its top on the page) of each line."""
    import ctypes

    import pypdfium2.raw as raw

    text_page = page.get_textpage()
    box = raw.FS_RECTF()
    start = 0
    for line in text_page.get_text_range().splitlines(keepends=True):
        text = line.strip().replace("\ufffe", "\x02")
        if text:
            first = start + len(line) - len(line.lstrip())
            size = round(raw.FPDFText_GetFontSize(text_page, first) * 2) / 2
            found = raw.FPDFText_GetLooseCharBox(text_page, first, ctypes.byref(box))
            # Some files scale letters of size 1: then the height of the box says more.
            height = round((box.top - box.bottom) * 2) / 2 if found else size
            yield text, size if size > 1 else height, box.top if found else 0.0
        start += len(line)


def _shape(line: str) -> str:
    """A line without what differs from page to page."""
    return re.sub(r"\d+|\b[ivxlc]+\b", "#", line.lower()).strip()


def _running(pages: list[list[tuple[str, float, float]]]) -> set[str]:
    """Shapes of the lines that stand at the edge of many pages."""
    counts: Counter[str] = Counter()
    for page in pages:
        texts = [text for text, _, _ in page]
        counts.update({_shape(text) for text in texts[:EDGE_LINES] + texts[-EDGE_LINES:]})
    return {shape for shape, count in counts.items() if count >= max(3, len(pages) * 0.3)}


def _paragraphs(lines: list[tuple[str, float, float]], levels: dict[float, int]) -> Iterator[Item]:
    """Lines put together: a new paragraph where the distance is more than of lines, or the size of letters changes."""
    gaps = sorted(a[2] - b[2] for a, b in pairwise(lines) if a[2] > b[2])
    usual = gaps[len(gaps) // 4] if gaps else 0.0  # most gaps of a short page are between paragraphs
    text, size, top = "", 0.0, 0.0
    for line, line_size, line_top in lines:
        apart = top - line_top > min(usual * 1.35, size * 2.6) or (line_top > top and text[-1:] in ".!?…:")
        bullet = re.match(r"[•▪◦‣–·-]\s", line)
        if text and (apart or line_size != size or bullet):
            yield _item(text, levels.get(size, 0))
            text = ""
        text = _joined(text, line)
        size, top = line_size, line_top
    if text:
        yield _item(text, levels.get(size, 0))


def _item(text: str, level: int) -> Item:
    text = text.replace("\x02", "")  # where PDFium itself saw a word divided
    if level and len(text) <= 200 and any(c.isalpha() for c in text):
        return {"kind": "heading", "text": text, "level": level}
    return {"kind": "text", "text": text}


def _joined(before: str, after: str) -> str:
    """Two parts of a paragraph; a word that was divided at the end of a line is whole again."""
    if before.endswith(("\x02", "\u00ad")) or (re.search(r"[^\W\d_]-$", before) and after[:1].islower()):
        return before[:-1] + after
    return f"{before} {after}" if before else after


def read_docx(path: str) -> Item:
    """Headings by their style, lists, tables, paragraphs, in their order."""
    import docx
    from docx.table import Table

    document = docx.Document(path)
    items: list[Item] = []
    for part in document.iter_inner_content():
        if isinstance(part, Table):
            items.append({"kind": "table", "rows": [_row(cell.text for cell in _cells(row)) for row in part.rows]})
            continue
        text = part.text.strip()
        style = (part.style.name if part.style is not None else "") or ""
        level = 1 if style == "Title" else int(found[1]) if (found := re.match(r"Heading (\d)", style)) else 0
        if level:
            items.append({"kind": "heading", "text": " ".join(text.split()), "level": level})
        elif style.startswith("List") or (part._p.pPr is not None and part._p.pPr.numPr is not None):
            items.append({"kind": "list", "text": f"- {text}" if text else ""})
        else:
            items.append({"kind": "text", "text": text})
    return {"title": document.core_properties.title, "num_pages": None, "items": _with_lists(items)}


def _cells(row: Any) -> Iterator[Any]:
    """The cells of a row, those that were merged once."""
    last = None
    for cell in row.cells:
        if cell._tc is not last:
            yield cell
        last = cell._tc


def _with_lists(items: Iterable[Item]) -> list[Item]:
    """Items of a list that follow one another are one."""
    found: list[Item] = []
    for item in items:
        if item["kind"] == "list" and found and found[-1]["kind"] == "list":
            found[-1]["text"] += "\n" + item["text"]
        elif item.get("rows") or item.get("text"):
            found.append(item)
    return found


def read_pptx(path: str) -> Item:
    """A page for each slide: its title, its texts and tables, its notes."""
    import pptx

    presentation = pptx.Presentation(path)
    items: list[Item] = []
    for number, slide in enumerate(presentation.slides, 1):
        title = slide.shapes.title
        heading = " ".join(title.text_frame.text.split()) if title is not None else ""
        items.append({"kind": "heading", "text": heading or f"{number}", "level": 1, "page": number})
        for shape in _shapes(slide.shapes):
            if title is not None and shape.shape_id == title.shape_id:
                continue
            if getattr(shape, "has_table", False):
                rows = [_row(cell.text for cell in row.cells) for row in shape.table.rows]
                items.append({"kind": "table", "rows": rows, "page": number})
            elif shape.has_text_frame:
                lines = [" ".join(p.text.split()) for p in shape.text_frame.paragraphs]
                kind = "list" if len([line for line in lines if line]) > 1 else "text"
                items.append({"kind": kind, "text": "\n".join(line for line in lines if line), "page": number})
        if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame):
            items.append({"kind": "text", "text": notes.text.strip(), "page": number})
    found = [item for item in items if item.get("rows") or item.get("text")]
    return {"title": presentation.core_properties.title, "num_pages": len(presentation.slides), "items": found}


def _shapes(shapes: Any) -> Iterator[Any]:
    """Shapes, and those inside of groups."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes)
        else:
            yield shape


def read_xlsx(path: str) -> Item:
    """A heading for each sheet and its rows, as values."""
    import openpyxl

    file = Path(path).open("rb")  # noqa: SIM115 (rows are read from it below; the process ends with it)
    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    items: list[Item] = []
    cells = 0
    for sheet in book.worksheets:
        items.append({"kind": "heading", "text": sheet.title, "level": 1})
        sheet.reset_dimensions()  # what the file says of them may be wrong
        rows = []
        for row in sheet.iter_rows(values_only=True):
            cells += len(row)
            if cells > MAX_CELLS:
                raise RefusedError(f"has more than {MAX_CELLS} cells")
            if any(value is not None for value in row):
                rows.append(_row("" if value is None else _value(value) for value in row))
        items.append({"kind": "table", "rows": rows})
    return {"title": book.properties.title, "num_pages": None, "items": items}


def _value(value: Any) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).removesuffix("T00:00:00")
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _row(cells: Iterable[str]) -> list[str]:
    return [" ".join(cell.split()) for cell in cells]


def check_archive(path: str) -> None:
    """Refuse an archive that is damaged or unpacks to more than memory holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError):
        raise RefusedError("is damaged: not a whole archive") from None
    if size > MAX_UNPACKED:
        raise RefusedError(f"unpacks to {size >> 20} MiB, at most {MAX_UNPACKED >> 20} are read")


READERS = {"pdf": read_pdf, "docx": read_docx, "pptx": read_pptx, "xlsx": read_xlsx}


def main(kind: str) -> None:
    """Read `input` as `kind` and write `output.json`."""
    try:
        if kind != "pdf":
            check_archive("input")
        done = READERS[kind]("input")
    except RefusedError as error:
        done = {"error": str(error)}
    except MemoryError:
        raise
    except Exception as error:  # of a library, on a file that is not what it says
        done = {"error": f"is damaged: {type(error).__name__} while reading it as {kind}"}
    Path("output.json").write_text(json.dumps(done), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
