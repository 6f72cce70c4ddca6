"""The form of code, and programming languages by name."""

from __future__ import annotations

import pytest

from colosse.assistant import code
from colosse.core.errors import UserError

GOOD = "Here it is:\n```python\ndef double(x):\n    return 2 * x\n```\nIt doubles."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD, ("def double(x):\n    return 2 * x\n", "It doubles.")),
        ("x = 1", ("x = 1", "")),
        ("First:\n```\na\n```", ("a\n", "First:")),
        ("```\na\n```\nor\n```py\nlonger code\n```", ("longer code\n", "or")),
        ("~~~c\nint x;\n~~~", ("int x;\n", "")),
        ("```python\ncut = 'off", ("cut = 'off\n", "")),
        ("  ```c++\n  int x;\n  ```", ("  int x;\n", "")),
    ],
)
def test_extract(text: str, expected: tuple[str, str]) -> None:
    assert code.extract(text) == expected


@pytest.mark.parametrize(
    ("language", "good", "bad", "detail"),
    [
        ("python", "x = 1", "x = ", "line 1: invalid syntax"),
        ("json", '{"a": 1}', "{a}", "Expecting property name"),
        ("toml", "a = 1", "a = ", "Invalid value"),
    ],
)
def test_syntax(language: str, good: str, bad: str, detail: str) -> None:
    assert [c.passed for c in code.check_syntax(good, language)] == [True]
    (check,) = code.check_syntax(bad, language)
    assert not check.passed
    assert detail in check.detail
    assert code.check_syntax(bad, "rust") == []


def test_languages() -> None:
    assert code.parse_code_language("C++") == "cpp"
    assert code.parse_code_language(".rs") == "rust"
    assert code.language_of_file("a/b.py") == "python"
    assert code.language_of_file("Makefile") == ""
    with pytest.raises(UserError, match="did you mean 'python'"):
        code.parse_code_language("pyton")
