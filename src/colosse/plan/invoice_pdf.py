"""The bill as a PDF, A4 or US letter. Text in the fonts that every reader has: Helvetica and Times, Windows-1252."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colosse.core.errors import UserError, nearest
from colosse.plan.invoice import Invoice, Row, Section

if TYPE_CHECKING:
    from fpdf import FPDF

PAPERS = {"a4": "A4", "letter": "Letter"}
MARGIN = 16.0
"""Millimetres, as all lengths here."""
INK, SOFT, ACCENT, RULE = (28, 34, 32), (92, 100, 95), (23, 102, 90), (205, 200, 188)
POINTS = 0.3528
"""Millimetres in a point."""
COLUMNS = (0.46, 0.14, 0.2, 0.2)
"""Item, quantity, unit price, amount: shares of the width."""
TOTAL = 14.0
"""Height of a total, which stands on the page of the last line before it."""
PLAIN = str.maketrans({"\u202f": "\u00a0", "₂": "2"})
"""What the fonts lack."""


def pdf(invoice: Invoice, *, paper: str = "a4") -> bytes:
    """The whole file.

    Args:
        invoice: what it says.
        paper: `a4` or `letter`.

    Raises:
        UserError: another paper, or fpdf2 is not installed.
    """
    if paper not in PAPERS:
        raise UserError(f"no paper is called {paper!r}", hint=nearest(paper, PAPERS), param="paper")
    try:
        from fpdf import FPDF
    except ModuleNotFoundError:
        raise UserError("a PDF needs fpdf2", hint="pip install 'colosse[plan]', or write --html and print it") from None

    class Pages(FPDF):
        def footer(self) -> None:
            self.set_y(-MARGIN + 2)
            self.set_font("Helvetica", size=7)
            self.set_text_color(*SOFT)
            self.cell(self.epw - 15, 4, _plain(invoice.made_by))
            self.cell(15, 4, f"{self.page_no()}/{{nb}}", align="R")

    file: FPDF = Pages(format=PAPERS[paper])
    file.core_fonts_encoding = "windows-1252"
    file.set_margin(MARGIN)
    file.c_margin = 0
    file.set_auto_page_break(auto=True, margin=MARGIN + 4)
    file.set_title(_plain(f"{invoice.title} {invoice.subtitle}"))
    file.set_lang("fr-FR" if invoice.words.language == "fr" else "en-GB")
    file.set_creator("Colosse")
    file.add_page()
    _head(file, invoice)
    for section in invoice.sections:
        _table(file, section, invoice)
    _small(file, invoice.words.label("notes"), invoice.notes)
    _small(file, invoice.words.label("sources"), [f"{n}. {text}" for n, text in enumerate(invoice.sources, 1)])
    return bytes(file.output())


def _head(file: FPDF, invoice: Invoice) -> None:
    width, left = file.epw, file.l_margin
    file.set_fill_color(*ACCENT)
    file.rect(left, MARGIN - 6, width, 1, style="F")
    top = MARGIN
    facts = left + 0.56 * width
    file.set_xy(left, top)
    _write(file, "Colosse", font="Times", size=13, color=ACCENT, width=80)
    file.set_xy(left, top + 7)
    _write(file, invoice.title, font="Times", size=30, width=90, height=13)
    file.set_xy(left, top + 21)
    file.set_text_color(*SOFT)
    file.set_font("Helvetica", size=9)
    file.multi_cell(0.48 * width, 4.4, _plain(invoice.subtitle), align="L")
    below = file.get_y()
    for index, (key, value) in enumerate(invoice.facts):
        file.set_xy(facts, top + 4.7 * index)
        _write(file, key, size=8.5, color=SOFT, width=26)
        file.set_xy(facts + 26, top + 4.7 * index)
        _write(file, value, size=8.5, width=width - (facts - left) - 26)
    file.set_y(max(below, top + 4.7 * len(invoice.facts)) + 5)
    _headline(file, invoice)


def _headline(file: FPDF, invoice: Invoice) -> None:
    across, height = 4, 17.0
    wide = file.epw / across
    top = file.get_y()
    file.set_draw_color(*RULE)
    file.set_line_width(0.2)
    for index, (key, value, spread) in enumerate(invoice.headline):
        x, y = file.l_margin + wide * (index % across), top + height * (index // across)
        file.rect(x, y, wide, height)
        for text, size, down, font, color in (
            (key, 7.5, 2, "Helvetica", SOFT),
            (value, 14, 6, "Times", INK),
            (spread, 6.8, 12, "Helvetica", SOFT),
        ):
            file.set_xy(x + 2, y + down)
            _write(file, text, font=font, size=size, color=color, width=wide - 4)
    file.set_y(top + height * -(-len(invoice.headline) // across))


def _table(file: FPDF, section: Section, invoice: Invoice) -> None:
    if file.get_y() > file.h - 65:
        file.add_page()
    file.ln(7)
    _write(file, section.title, font="Times", size=15, width=file.epw, height=7)
    file.ln(8)
    _columns(file, invoice)
    for index, (row, share) in enumerate(zip(section.rows, section.share, strict=True), 1):
        _row(file, row, share, invoice, keep=TOTAL if index == len(section.rows) else 0.0)
    y = file.get_y() + 2
    file.set_xy(file.l_margin, y)
    _write(file, invoice.words.label("total"), size=10.5, width=60)
    _right(file, section.total, 3, y, size=11, bold=True)
    if section.spread:
        _right(file, section.spread, 3, y + 4.6, size=7, color=SOFT)
    y += 9.5
    file.set_draw_color(*INK)
    for down in (0.0, 0.8):
        file.line(file.l_margin, y + down, file.l_margin + file.epw, y + down)
    file.set_y(y + 2)


def _columns(file: FPDF, invoice: Invoice) -> None:
    y = file.get_y()
    _write(file, invoice.words.label("item"), size=7.5, color=SOFT, width=60)
    for column, name in enumerate(("quantity", "price", "amount"), 1):
        _right(file, invoice.words.label(name), column, y, size=7.5, color=SOFT)
    file.set_draw_color(*INK)
    file.line(file.l_margin, y + 4.8, file.l_margin + file.epw, y + 4.8)
    file.set_xy(file.l_margin, y + 5.2)


def _row(file: FPDF, row: Row, share: float, invoice: Invoice, *, keep: float) -> None:
    width = COLUMNS[0] * file.epw
    item = f"{row.item} [{row.source}]" if row.source else row.item
    file.set_font("Helvetica", "B", 8.8)
    high = _height(file, item, width, 4.2)
    file.set_font("Helvetica", size=7.2)
    if row.note:
        high += _height(file, row.note, width, 3.5)
    high = max(high + 3.6, 11.0)
    if file.get_y() + high + keep > file.h - MARGIN - 4:
        file.add_page()
        _columns(file, invoice)
    y = file.get_y() + 1
    file.set_xy(file.l_margin, y)
    file.set_font("Helvetica", "B", 8.8)
    file.set_text_color(*INK)
    file.multi_cell(width, 4.2, _plain(item), align="L", new_x="LMARGIN", new_y="NEXT")
    if row.note:
        file.set_font("Helvetica", size=7.2)
        file.set_text_color(*SOFT)
        file.multi_cell(width, 3.5, _plain(row.note), align="L", new_x="LMARGIN", new_y="NEXT")
    file.set_fill_color(*ACCENT)
    file.rect(file.l_margin, file.get_y() + 0.5, max(0.1, share * 0.8 * width), 0.7, style="F")
    _right(file, f"{row.quantity} {row.unit}", 1, y, size=8.2)
    low, _, high_price = row.price.partition(_between(invoice))
    _right(file, low, 2, y, size=8.2, color=SOFT)
    if high_price:
        _right(file, f"{_between(invoice).strip()} {high_price}", 2, y + 4, size=8.2, color=SOFT)
    _right(file, row.amount, 3, y, size=8.8, bold=True)
    if row.spread:
        _right(file, row.spread, 3, y + 4.2, size=6.6, color=SOFT)
    end = y + high - 1
    file.set_draw_color(*RULE)
    file.line(file.l_margin, end, file.l_margin + file.epw, end)
    file.set_y(end)


def _height(file: FPDF, text: str, width: float, line: float) -> float:
    """Of a text in the font that is set."""
    lines: Any = file.multi_cell(width, line, _plain(text), dry_run=True, output="LINES")
    return line * len(lines)


def _between(invoice: Invoice) -> str:
    """What stands between the ends of a range."""
    return invoice.words.label("from_to", low="", high="")


def _small(file: FPDF, title: str, texts: list[str]) -> None:
    if not texts:
        return
    if file.get_y() > file.h - 45:
        file.add_page()
    file.ln(6)
    _write(file, title, font="Times", size=12, width=file.epw, height=6)
    file.ln(7)
    file.set_font("Helvetica", size=7.5)
    file.set_text_color(*SOFT)
    for text in texts:
        file.multi_cell(file.epw, 3.7, _plain(text), align="L", new_x="LMARGIN", new_y="NEXT")
        file.ln(0.7)


def _right(file: FPDF, text: str, column: int, y: float, **style: Any) -> None:
    """Text that ends where its column does."""
    end = file.l_margin + sum(COLUMNS[: column + 1]) * file.epw
    wide = COLUMNS[column] * file.epw
    file.set_xy(end - wide, y)
    _write(file, text, width=wide, align="R", **style)


def _write(
    file: FPDF,
    text: str,
    *,
    width: float,
    size: float,
    font: str = "Helvetica",
    bold: bool = False,
    color: tuple[int, int, int] = INK,
    align: str = "L",
    height: float = 0.0,
) -> None:
    """One line of text, in a smaller size where it would be too wide."""
    text = _plain(text)
    file.set_font(font, "B" if bold else "", size)
    while file.get_string_width(text) > width and size > 5:
        size -= 0.25
        file.set_font(font, "B" if bold else "", size)
    file.set_text_color(*color)
    file.cell(width, height or size * POINTS * 1.25, text, align=align)


def _plain(text: str) -> str:
    """With characters that the fonts have; others become question marks."""
    return text.translate(PLAIN).encode("windows-1252", "replace").decode("windows-1252")
