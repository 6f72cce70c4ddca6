"""Personal data is replaced; what only looks like it is left."""

from __future__ import annotations

import pytest

from colosse.data.pii import scrub


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("Écrivez à jean.dupont+bruit@mairie.exemple.fr, merci.", "Écrivez à email@example.com, merci."),
        ("ping 8.8.8.8 and 81.2.69.160:80", "ping 192.0.2.1 and 192.0.2.1:80"),
        ("call +33 6 12 34 56 78 or 06.12.34.56.78 or 01 23 45 67 89", "call 555-0100 or 555-0100 or 555-0100"),
        ("US: (212) 555-7890, 212-555-7890, +1 212 555 7890", "US: 555-0100, 555-0100, 555-0100"),
        ("home 127.0.0.1 and 192.168.1.20", None),
        ("version 1.2.3.4.5 of 300.1.1.1", None),
        ("the years 2019-2020, 10 000 000 people, 3.14159, 2024-01-31", None),
        ("@decorator\ndef f(a@b): pass  # 0x1234", None),
    ],
)
def test_scrub(text: str, scrubbed: str | None) -> None:
    assert scrub(text) == (text if scrubbed is None else scrubbed)
