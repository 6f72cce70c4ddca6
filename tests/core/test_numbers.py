from datetime import UTC, datetime

import pytest

from colosse.core.numbers import ago, big, count, dollars, duration, share, short, time_of


def test_numbers_as_people_read_them() -> None:
    assert [big(value) for value in (None, 12, 2048, 8.03e9)] == ["", "12", "2.05 k", "8.03 B"]
    assert (count(1234567), short(2.3456), share(0.415), time_of(None), time_of(12)) == (
        "1 234 567",
        "2.346",
        "41.5 %",
        "",
        "12 s",
    )
    assert (ago(""), ago("1999-01-01T00:00:00").endswith(" d ago"), ago(datetime.now(UTC).isoformat())) == (
        "",
        True,
        "just now",
    )
    assert [dollars(value) for value in (0.0853, 0.0, 312, 4.213e6)] == ["$0.085", "$0", "$312", "$4.21 M"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (125, "2 min 5 s"), (12_000, "3 h 20 min"), (200_000, "2 d 7 h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
