import pytest
from hypothesis import given
from hypothesis import strategies as st

from colosse.core.errors import UserError
from colosse.plan.quantities import SCALES, SECONDS, parse_count, parse_duration, parse_money


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("15.6T", 15.6e12),
        ("8b", 8e9),
        ("50k", 5e4),
        ("1e12", 1e12),
        ("16,384", 16384),
        ("16 384", 16384),
        ("1_000_000", 1e6),
        (".5M", 5e5),
    ],
)
def test_counts(text: str, value: float) -> None:
    assert parse_count(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("100k$", 1e5), ("$1.5M", 1.5e6), ("2 M USD", 2e6), ("750000", 7.5e5), ("US$3B", 3e9), ("10 million$", None)],
)
def test_money(text: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(UserError, match="not an amount"):
            parse_money(text)
    else:
        assert parse_money(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("50ms", 0.05),
        ("1s", 1),
        ("30d", 30 * 86400),
        ("1d 12h", 129600),
        ("1h30m", 5400),
        ("2 weeks", 1209600),
        ("1y", 31557600),
        ("200µs", 2e-4),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "many", "-5", "5x", "1.2.3", "0", "nan", "inf", "1e999", "5 k k"])
def test_a_bad_count_is_named(text: str) -> None:
    with pytest.raises(UserError, match=r"^--tokens: "):
        parse_count(text, name="--tokens")


@pytest.mark.parametrize("text", ["30", "-1s", "soon", "0s", "5 parsecs", "1h later", ""])
def test_a_bad_duration_is_named(text: str) -> None:
    with pytest.raises(UserError, match=r"^--deadline: "):
        parse_duration(text, name="--deadline")


def test_what_nobody_can_mean_is_refused() -> None:
    for text in ("1e19", "1e300", "9999999P"):
        with pytest.raises(UserError, match="more than can be meant"):
            parse_count(text)
    with pytest.raises(UserError, match="'1000000 years' is more"):
        parse_duration("1000000 years")


def test_a_number_alone_may_have_a_unit() -> None:
    assert parse_duration("54", unit="d") == parse_duration("54d", unit="d") == parse_duration("54 d")
    with pytest.raises(UserError, match="'-5' is not a duration"):
        parse_duration("-5", unit="d")


@pytest.mark.parametrize("text", ["100k€", "5 EUR", "-3$", "$"])
def test_bad_money_is_named(text: str) -> None:
    with pytest.raises(UserError, match=r"^--budget: "):
        parse_money(text, name="--budget")


@given(st.floats(0.001, 999), st.sampled_from(sorted(SCALES)), st.sampled_from(sorted(SECONDS)))
def test_numbers_are_read_back(number: float, letter: str, unit: str) -> None:
    assert parse_count(f"{number!r}{letter}") == pytest.approx(number * SCALES[letter])
    assert parse_money(f"{number!r}{letter}$") == pytest.approx(number * SCALES[letter])
    assert parse_duration(f"{number!r}{unit}") == pytest.approx(number * SECONDS[unit])
