"""Pages and PDFs of bills: whole, in two languages, with nothing from outside."""

from __future__ import annotations

import csv
import io
import re
import sys
from datetime import date

import pytest

from colosse.core.errors import UserError
from colosse.plan import invoice_pdf
from colosse.plan.bill import bill
from colosse.plan.hardware import catalogue
from colosse.plan.invoice import Invoice, as_csv, compose, html
from colosse.plan.order import load_order
from colosse.plan.words import _table

ORDER = load_order("microsoft-openai-2020")
BILL = ORDER.bill()
WHEN = date(2026, 11, 6)


def composed(language: str = "en") -> Invoice:
    return compose(BILL, language=language, when=WHEN, note=ORDER.note)


def test_the_same_words_in_both_languages() -> None:
    english, french = _table()["en"], _table()["fr"]
    assert set(english) == set(french)
    for group, texts in english.items():
        if isinstance(texts, dict):
            assert set(texts) == set(french[group]), group
            for key, text in texts.items():
                if isinstance(text, str):
                    fields = re.findall(r"\{(\w*)\}", text)
                    assert sorted(fields) == sorted(re.findall(r"\{(\w*)\}", french[group][key])), key


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_page_needs_nothing_and_says_everything(language: str) -> None:
    page = html(composed(language))
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page
    assert f'<html lang="{language}">' in page
    for line in BILL.lines:
        assert line.section in ("capital", "year", "run")
    total = {"en": "$289,", "fr": "289\u202f"}[language]
    assert total in page
    assert {"en": "6 November 2026", "fr": "6 novembre 2026"}[language] in page
    assert {"en": "Leaf switches", "fr": "Commutateurs feuilles"}[language] in page
    assert "prefers" not in page
    assert "light-dark(" in page
    assert "@media print" in page


def test_names_from_outside_are_text() -> None:
    made = bill(catalogue().cluster("h100", 8), days=1, model="<b>x</b>")
    assert "<b>x</b>" not in html(compose(made, note="<i>"))


def test_paper() -> None:
    assert "@page { size: letter" in html(composed(), paper="letter")


@pytest.mark.parametrize(
    ("language", "paper", "size"), [("fr", "a4", "595.28 841.89"), ("en", "letter", "612.00 792.00")]
)
def test_pdf(language: str, paper: str, size: str) -> None:
    pytest.importorskip("fpdf")
    made = invoice_pdf.pdf(composed(language), paper=paper)
    assert made.startswith(b"%PDF-")
    assert size.encode() in made
    assert 5_000 < len(made) < 200_000


def test_pdf_of_characters_that_its_fonts_lack() -> None:
    pytest.importorskip("fpdf")
    assert invoice_pdf._plain("1\u202f234\u00a0$ – l’œuvre ₂ 漢") == "1\u00a0234\u00a0$ – l’œuvre 2 ?"
    made = bill(catalogue().cluster("h100", 8), days=1, model="漢字 " + "x" * 200)
    assert invoice_pdf.pdf(compose(made)).startswith(b"%PDF-")


def test_pdf_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="a4"):
        invoice_pdf.pdf(composed(), paper="a5")
    monkeypatch.setitem(sys.modules, "fpdf", None)
    with pytest.raises(UserError, match="fpdf2"):
        invoice_pdf.pdf(composed())


def test_csv_adds_up() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(BILL, "fr"))))
    assert len(rows) == len(BILL.lines)
    capital = sum(float(row["amount_central"]) for row in rows if row["section"] == "capital")
    assert capital == pytest.approx(BILL.sections["capital"].central)


def test_json_holds_every_line_and_total() -> None:
    answer = BILL.to_json("fr")
    assert answer["totals"]["run"]["central"] == pytest.approx(BILL.run.central)
    assert [line["key"] for line in answer["lines"]] == [line.key for line in BILL.lines]
    assert all(line["source"] or line["key"] in ("lost",) for line in answer["lines"])


def test_every_line_of_every_kind_has_its_words() -> None:
    known = catalogue()
    clusters = [known.cluster("GB200-NVL72", 144), known.cluster("TPU-v4-host", 4096, fabric="tpu")]
    for cluster in clusters:
        prices = {"gpu": (1.0, 2.0), "server_per_gpu": 1.0, "gpu_hour": 1.0}
        for mode, kind in (("build", "on_demand"), ("rent", "spot"), ("rent", "reserved")):
            made = bill(cluster, mode=mode, kind=kind, days=9, goodput=0.9, egress_tb=2, prices=prices)  # type: ignore[arg-type]
            for language in ("en", "fr"):
                assert "{" not in html(compose(made, language=language)).split("</style>")[1]
