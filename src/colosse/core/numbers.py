"""Numbers and times as people read them, the same on a terminal and on a page; empty text for what is not known."""

from __future__ import annotations

from datetime import UTC, datetime

SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def duration(seconds: float) -> str:
    """`3 h 20 min`, `2 min 5 s`, `12 s`."""
    whole = round(seconds)
    if whole >= 86400:
        return f"{whole // 86400} d {whole % 86400 // 3600} h"
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def count(value: float | None) -> str:
    """`12 345`."""
    return "" if value is None else f"{round(value):,}".replace(",", " ")


def big(value: float | None) -> str:
    """`8.03 B`, `4.2 M`, `512`."""
    for size, letter in SCALES:
        if value is not None and abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return count(value)


def dollars(value: float) -> str:
    """`$4.21 M`, `$312`, `$0.085`."""
    if 0 < abs(value) < 10:
        return f"${value:.2g}"
    return f"${big(value)}"


def short(value: float | None) -> str:
    """`2.345`: a loss."""
    return "" if value is None else f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def time_of(seconds: float | None) -> str:
    """`3 h 20 min`."""
    return duration(seconds) if seconds else ""


def share(value: float | None) -> str:
    """`41.5 %` of a fraction."""
    return "" if value is None else f"{100 * value:.3g} %"


def ago(moment: str) -> str:
    """`5 min ago`, `3 d ago` of an ISO 8601 time."""
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return ""
    seconds = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {word} ago"
    return "just now"
