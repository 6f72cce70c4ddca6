"""The article of a page, without what surrounds it."""

from __future__ import annotations

from colosse.data.boilerplate import main_text
from tests.data.test_quality import GOOD_FR


def test_main_text() -> None:
    paragraphs = "".join(f"<p>{part}</p>" for part in GOOD_FR.split("\n\n"))
    page = (
        "<html><head><title>Phares</title><script>var x = 1;</script></head><body>"
        "<nav><ul><li><a href='/'>Accueil</a></li><li><a href='/contact'>Contact</a></li></ul></nav>"
        f"<article><h1>Les phares</h1>{paragraphs}</article>"
        "<footer>Mentions légales · Cookies</footer></body></html>"
    )
    text = main_text(page)
    assert "Augustin Fresnel proposa en 1822" in text
    assert not any(word in text for word in ("Accueil", "Cookies", "var x", "<p>"))


def test_a_page_without_text() -> None:
    assert main_text("<html><body><script>var x = 1;</script></body></html>") == ""
    assert main_text("<html>") == ""
