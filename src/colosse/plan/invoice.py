"""The bill as a page: composed once in English or French, then written as HTML here and as PDF in `invoice_pdf`.

The page needs nothing but a browser: no network, no fonts, no scripts. It is readable on a phone, in the dark and on
paper, A4 or US letter.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from html import escape
from importlib import resources

from colosse import __version__
from colosse.plan.bill import Bill, row
from colosse.plan.charges import Line
from colosse.plan.costs import GIVEN, Amount
from colosse.plan.words import Words


@dataclass(frozen=True)
class Row:
    """A line as it is printed."""

    item: str
    note: str
    quantity: str
    unit: str
    price: str
    amount: str
    spread: str
    """Low to high; empty where they are one."""
    source: int
    """Number in the list of sources; 0: none."""


@dataclass(frozen=True)
class Section:
    """Lines with their total."""

    title: str
    rows: list[Row]
    total: str
    spread: str
    share: list[float]
    """Of the total, by line: the central amounts' parts, adding up to 1."""


@dataclass(frozen=True)
class Invoice:
    """Everything that is printed, as text."""

    words: Words
    title: str
    subtitle: str
    facts: list[tuple[str, str]]
    headline: list[tuple[str, str, str]]
    """A word, its number and its range."""
    sections: list[Section]
    sources: list[str]
    notes: list[str]
    made_by: str


def compose(bill: Bill, *, language: str = "en", when: date | None = None, note: str = "") -> Invoice:
    """Put a bill into words.

    Args:
        bill: what is to be paid.
        language: `en` or `fr`.
        when: date of issue; None: today.
        note: what else is to be said, as it is.

    Raises:
        UserError: another language.
    """
    words = Words(language)
    when = when or date.today()
    sources: list[str] = []
    sections = [
        _section(words, name, [line for line in bill.lines if line.section == name], total, sources)
        for name, total in bill.sections.items()
    ]
    return Invoice(
        words=words,
        title=words.label("bill"),
        subtitle=words.label(bill.mode),
        facts=list(_facts(bill, words, when)),
        headline=list(headline(bill, words)),
        sections=sections,
        sources=sources,
        notes=[*([note] if note else []), words.label("range")],
        made_by=words.label("made_by", version=__version__),
    )


def html(invoice: Invoice, *, paper: str = "a4") -> str:
    """The whole file.

    Args:
        invoice: what it says.
        paper: `a4` or `letter`, for the printer.
    """
    words = invoice.words
    style = resources.files(__package__).joinpath("invoice.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    facts = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in invoice.facts)
    headline = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}<small>{escape(spread)}</small></dd></div>"
        for key, value, spread in invoice.headline
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in invoice.notes)
    sources = "".join(f"<li>{escape(source)}</li>" for source in invoice.sources)
    return (
        f'<!doctype html><html lang="{words.language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><link rel="icon" href="data:,">'
        f"<title>{escape(invoice.title)} {escape(invoice.subtitle)}</title>"
        f"<style>{style}@page {{ size: {paper}; margin: 14mm 14mm 16mm }}</style></head><body><main>"
        f'<header><div><p class="mark">Colosse</p><h1>{escape(invoice.title)}</h1>'
        f"<p>{escape(invoice.subtitle)}</p></div>"
        f'<dl class="facts">{facts}</dl></header><dl class="headline">{headline}</dl>'
        f"{''.join(_table(section, words) for section in invoice.sections)}"
        f'<section class="small"><h2>{escape(words.label("notes"))}</h2>{notes}</section>'
        f'<section class="small"><h2>{escape(words.label("sources"))}</h2><ol>{sources}</ol></section>'
        f"<footer>{escape(invoice.made_by)}</footer></main></body></html>\n"
    )


def as_csv(bill: Bill, language: str = "en") -> str:
    """One row a line, numbers plain (a point before decimals, no thousands), for spreadsheets and programs."""
    words = Words(language)
    out = io.StringIO()
    fields = ["section", "key", "item", "quantity", "unit", "price_low", "price_high"]
    fields += ["amount_low", "amount_central", "amount_high", "note", "source"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(fields)
    for line in bill.lines:
        cells = row(line, words)
        ends = (line.price.low, line.price.high, line.amount.low, line.amount.central, line.amount.high)
        writer.writerow([*(cells[name] for name in fields[:5]), *ends, cells["note"], cells["source"]])
    return out.getvalue()


def _section(words: Words, name: str, lines: list[Line], total: Amount, sources: list[str]) -> Section:
    rows = [_row(words, line, sources) for line in lines]
    share = [line.amount.central / total.central if total.central else 0.0 for line in lines]
    return Section(words.text("sections", name), rows, words.money(total.central), _spread(words, total), share)


def _row(words: Words, line: Line, sources: list[str]) -> Row:
    source = words.label("given") if line.source == GIVEN else line.source
    if source and source not in sources:
        sources.append(source)
    return Row(
        item=line.item(words),
        note=line.remark(words),
        quantity=words.number(line.quantity),
        unit=words.unit(line.unit, line.quantity),
        price=words.money_range(line.price) if line.unit not in ("lot", "year") else "",
        amount=words.money(line.amount.central),
        spread=_spread(words, line.amount),
        source=sources.index(source) + 1 if source else 0,
    )


def _spread(words: Words, amount: Amount) -> str:
    return words.money_range(amount) if amount.low != amount.high else ""


def _facts(bill: Bill, words: Words, when: date) -> Iterator[tuple[str, str]]:
    cluster = bill.cluster
    digest = hashlib.sha256(json.dumps(bill.to_json(), sort_keys=True).encode()).hexdigest()
    yield words.label("number"), f"{when:%Y%m%d}-{digest[:6].upper()}"
    yield words.label("date"), words.day(when)
    yield words.label("cluster"), f"{words.number(cluster.gpus)} × {cluster.gpu.name}"
    if bill.model:
        yield words.label("model"), bill.model
    yield words.label("run"), words.label("days", days=round(bill.elapsed_days, 1))
    if bill.goodput < 1:
        yield "", words.label("lost", days=round(bill.elapsed_days - bill.days, 1))
    yield words.label("gpu_hours"), words.number(round(bill.gpu_hours))
    if bill.tokens:
        yield words.label("tokens"), words.number(bill.tokens)
    yield words.label("region"), words.text("regions", bill.region)
    yield words.label("prices_of"), str(bill.year) if bill.year else words.label("newest")


def headline(bill: Bill, words: Words) -> Iterator[tuple[str, str, str]]:
    """The numbers that a person looks for first: a word, the central value, its range."""
    for name, total in bill.sections.items():
        if name != "year" or bill.mode == "build":
            yield words.text("sections", name), words.money(total.central), _spread(words, total)
    if bill.mode == "build":
        yield words.label("life"), words.money(bill.life.central), _spread(words, bill.life)
        years = words.label("of_years", years=bill.hardware_years.central)
        yield words.label("life_share"), words.share(bill.life_share), years
    if bill.per_million_tokens:
        each = bill.per_million_tokens
        yield words.label("per_million"), words.money(each.central), _spread(words, each)
    mwh = bill.kwh / 1000
    ends = words.label("from_to", low=words.number(mwh.low), high=words.number(mwh.high))
    yield words.label("energy"), f"{words.number(mwh.central)} MWh", ends if mwh.low != mwh.high else ""
    tonnes = bill.co2e_kg / 1000
    ends = words.label("from_to", low=words.number(tonnes.low), high=words.number(tonnes.high))
    yield words.label("co2e"), f"{words.number(tonnes.central)} t", ends if tonnes.low != tonnes.high else ""


def _table(section: Section, words: Words) -> str:
    heads = [words.label(name) for name in ("item", "quantity", "price", "amount")]
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    rows = "".join(
        f'<tr><td class="item"><b>{escape(r.item)}</b>{_mark(r.source)}<small>{escape(r.note)}</small>'
        f'<i style="--share:{100 * share:.2f}%"></i></td>'
        f'<td data-head="{escape(heads[1])}"><span>{escape(r.quantity)} <small>{escape(r.unit)}</small></span></td>'
        f'<td data-head="{escape(heads[2])}"><span>{escape(r.price)}</span></td>'
        f'<td data-head="{escape(heads[3])}"><span><b>{escape(r.amount)}</b>'
        f"<small>{escape(r.spread)}</small></span></td></tr>"
        for r, share in zip(section.rows, section.share, strict=True)
    )
    total = f"<span><b>{escape(section.total)}</b><small>{escape(section.spread)}</small></span>"
    foot = f'<tr><th colspan="3">{escape(words.label("total"))}</th><td data-head="">{total}</td></tr>'
    return (
        f"<section><h2>{escape(section.title)}</h2><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody><tfoot>{foot}</tfoot></table></section>"
    )


def _mark(source: int) -> str:
    return f"<sup>{source}</sup>" if source else ""
