"""Edits: found in spite of blanks, indentation and left-out lines, and never put where they do not belong."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from colosse.assistant.code.patch import Edit, PatchError, apply, apply_edits, parse_edits

FILE = "def double(x):\n    y = x\n    return y + 2\n\n\ndef half(x):\n    y = x\n    return y / 2\n"
LINE = st.text("abc xyz=+()", min_size=1, max_size=12).map(lambda line: f"    {line.strip() or 'x'}")


def test_exact_and_elsewhere_untouched() -> None:
    assert apply(FILE, "    return y + 2\n", "    return y * 2\n") == FILE.replace("+ 2", "* 2")
    assert apply("a\nb", "b", "c\nd") == "a\nc\nd"
    assert apply("a\r\nb\r\n", "b\n", "c\n") == "a\r\nc\r\n"
    assert apply("a\nb\n", "b\n", "") == "a\n"


def test_indentation_is_that_of_the_file() -> None:
    assert apply(FILE, "y = x\nreturn y + 2\n", "if x:\n    return 2 * x\n") == FILE.replace(
        "    y = x\n    return y + 2\n", "    if x:\n        return 2 * x\n"
    )
    assert (
        apply("if a:\n    b\n", "        if a:\n            b\n", "        if a:\n            c\n") == "if a:\n    c\n"
    )


def test_left_out_lines_stay() -> None:
    changed = apply(FILE, "def double(x):\n    ...\n    return y + 2\n", "def twice(x):\n    ...\n    return y * 2\n")
    assert changed == FILE.replace("double", "twice").replace("+ 2", "* 2")
    assert "y = x\n    return y * 2" in changed


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ("    y = x\n", "at 2 places"),
        ("    return y - 2\n", "nearest are:\n    return y + 2"),
        ("\n", "searched for nothing"),
        ("def double(x):\n...\n", "same in both halves"),
        ("  y = x\n      return y + 2\n", "not in the file"),
    ],
)
def test_what_does_not_fit_is_refused(search: str, said: str) -> None:
    with pytest.raises(PatchError, match=said.replace("+", r"\+")):
        apply(FILE, search, "new\n")


@given(st.lists(LINE, min_size=1, max_size=8, unique=True), st.data())
def test_any_lines_however_damaged_are_replaced_there_alone(lines: list[str], data: st.DataObject) -> None:
    lines = [f"{line}_{number}" for number, line in enumerate(lines)]
    start = data.draw(st.integers(0, len(lines) - 1))
    end = data.draw(st.integers(start + 1, len(lines)))
    shift = data.draw(st.sampled_from(["", " " * 4, " " * 2]))
    blanks = data.draw(st.sampled_from(["", " ", "\t"]))
    search = "".join(f"{line.removeprefix(shift)}{blanks}\n" for line in lines[start:end])
    new = ["    new", "        more"]
    expected = [*lines[:start], *new, *lines[end:]]
    replace = "".join(f"{line.removeprefix(shift)}\n" for line in new)
    assert apply("\n".join(lines) + "\n", search, replace) == "\n".join(expected) + "\n"


@given(st.lists(LINE, min_size=3, max_size=9, unique=True), st.data())
def test_any_gap_stays_as_it_is(lines: list[str], data: st.DataObject) -> None:
    lines = [f"{line}_{number}" for number, line in enumerate(lines)]
    first = data.draw(st.integers(0, len(lines) - 3))
    last = data.draw(st.integers(first + 2, len(lines) - 1))
    search = f"{lines[first]}\n    # ... existing code ...\n{lines[last]}\n"
    expected = [*lines[:first], "one", *lines[first + 1 : last], "two", *lines[last + 1 :]]
    assert apply("\n".join(lines), search, "one\n    # ...\ntwo\n") == "\n".join(expected)


@given(st.text("ab\n ", max_size=40), st.text("ab\n ", max_size=10), st.text("ab\n ", max_size=10))
def test_whatever_the_texts_it_fits_or_says_why(text: str, search: str, replace: str) -> None:
    try:
        changed = apply(text, search, replace)
    except PatchError as error:
        assert str(error)
        return
    assume(search.strip() and changed != text)
    assert search.split() == [] or search.split()[0] in text.split()


def test_edits_are_read_from_an_answer() -> None:
    files = {"a.py": "x = 1\n", "pkg/b.py": "y = 1\n"}
    hunk = "<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE\n"
    answer = f"a.py\n```\n{hunk.format('x = 1', 'x = 2')}```\nand **b.py**:\n{hunk.format('y = 1', 'y = 3')}"
    assert parse_edits(answer, files) == [Edit("a.py", "x = 1\n", "x = 2\n"), Edit("pkg/b.py", "y = 1\n", "y = 3\n")]
    assert apply_edits(files, parse_edits(answer, files)) == {"a.py": "x = 2\n", "pkg/b.py": "y = 3\n"}
    assert parse_edits(hunk.format("y = 1", "y = 3"), files)[0].path == "pkg/b.py"
    assert parse_edits("a.py\n```python\nx = 5\n```", files) == [Edit("a.py", "", "x = 5\n")]
    both = {"a.py": FILE, "b.py": "x = 1\n"}
    assert parse_edits(f"```\n{FILE.replace('+', '*')}```", both)[0].path == "a.py"
    assert parse_edits("```python\nx = 5\n```", {"a.py": ""}) == [Edit("a.py", "", "x = 5\n")]
    assert apply_edits(files, [Edit("a.py", "", "x = 1\n")]) == {}
    for answer in ("no edit", "```\nx = 5\n```"):
        with pytest.raises(PatchError, match=r"no edit|does not say its file"):
            parse_edits(answer, files)
