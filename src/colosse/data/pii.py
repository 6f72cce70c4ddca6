"""Personal data: addresses and numbers that lead to a person are replaced by ones that lead nowhere."""

from __future__ import annotations

import ipaddress
import re

EMAIL = "email@example.com"
IP = "192.0.2.1"
"""RFC 5737 keeps it for documentation."""
PHONE = "555-0100"
"""Kept for fiction."""

_EMAIL = re.compile(
    r"\b[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,}\b"
)
_IP = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_PHONE = re.compile(
    r"(?<![\w+.-])(?:"
    r"\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}"  # international: +33 6 12 34 56 78
    r"|0[1-9](?:([ .-])\d{2})(?:\1\d{2}){3}"  # French: 06 12 34 56 78
    r"|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4}"  # North American
    r")(?![\w-])"
)


def scrub(text: str) -> str:
    """Replace e-mail addresses, public IPv4 addresses and phone numbers (as FineWeb does the first two)."""
    if "@" in text:
        text = _EMAIL.sub(EMAIL, text)
    text = _IP.sub(_public_ip, text)
    return _PHONE.sub(_phone, text)


def _public_ip(match: re.Match[str]) -> str:
    try:
        return IP if ipaddress.IPv4Address(match[0]).is_global else match[0]
    except ValueError:  # a version number
        return match[0]


def _phone(match: re.Match[str]) -> str:
    digits = sum(character.isdigit() for character in match[0])
    return PHONE if 9 <= digits <= 15 else match[0]
