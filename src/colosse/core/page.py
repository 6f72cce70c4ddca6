"""Pages of reports: one HTML file that needs nothing but a browser.

No network, no fonts, no library: `page.css` and `chart.js` are put inside. It is readable without scripts, on a phone,
in the dark and on paper.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from importlib import resources

from colosse import __version__

Facts = Iterable[tuple[str, str]]
"""Words and their values; those without a value are left out."""


def page(title: str, body: Iterable[str], *, style: str = "", script: str = "", language: str = "en") -> str:
    """The whole file.

    Args:
        title: of the window.
        body: pieces of HTML, one below the other.
        style: CSS beside that of `page.css`.
        script: JavaScript beside that of the charts.
        language: of the text, as HTML has it.
    """
    here = resources.files("colosse.core")
    shared, charts = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "chart.js"))
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html><html lang="{escape(language)}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{shared}{style}</style></head><body><main>{''.join(body)}"
        f"<footer>Made by Colosse {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC</footer></main>"
        f"<script>{charts}{script}</script></body></html>\n"
    )


def head(over: str, title: str, state: str = "", lead: str = "") -> str:
    """The title, with what kind of page it is above, a state beside and a sentence below."""
    chip = f'<span class="state {escape(state)}">{escape(state)}</span>' if state else ""
    text = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return f'<p class="over">Colosse {over}</p><div class="title"><h1>{escape(title)}</h1>{chip}</div>{text}'


def stats(facts: Facts) -> str:
    """The numbers that a person looks for first, large."""
    written = pairs(facts)
    return f'<dl class="stats">{written}</dl>' if written else ""


def fact_groups(groups: Iterable[tuple[str, Facts]]) -> str:
    """Lists of words and values, each with a title, side by side."""
    written = "".join(f"<section><h3>{escape(title)}</h3><dl>{pairs(facts)}</dl></section>" for title, facts in groups)
    return f'<div class="facts">{written}</div>'


def pairs(facts: Facts) -> str:
    """Words and values as entries of a `dl`."""
    return "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in facts if value)
