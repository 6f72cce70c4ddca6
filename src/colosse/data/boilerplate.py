"""Web pages to their main text."""

from __future__ import annotations


def main_text(html: str) -> str:
    """The article of a page, without menus, footers and comments; empty where none is found.

    By trafilatura (Barbaresi, "Trafilatura: a web scraping library", ACL 2021), with FineWeb's settings
    (arXiv:2406.17557, section 3.2).
    """
    import trafilatura

    found = trafilatura.extract(html, favor_precision=True, include_comments=False, deduplicate=True)
    return found or ""
