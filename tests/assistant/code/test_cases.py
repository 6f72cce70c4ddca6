"""Cases: what a task states is found, and what it does not state is not made up."""

from __future__ import annotations

import pytest

from colosse.assistant.code import cases


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`double(3)` returns 6, and double(-1) == -2.", ["assert double(3) == 6", "assert double(-1) == -2"]),
        (
            "is_leap(1900) -> False; is_leap(2000) is True",
            ["assert is_leap(1900) == False", "assert is_leap(2000) == True"],
        ),
        ('g("a, b") should return ["a", "b"]', ['assert g("a, b") == ["a", "b"]']),
        ("Eg.\n>>> x = [1]\n>>> f(x)\n[1, 1]\nSo it is.", ["x = [1]\nassert f(x) == [1, 1]"]),
        (">>> f(1)\n<object>\n", ["assert repr(f(1)) == '<object>'"]),
        ("Your code must pass:\nassert f(1) == 2, 'no'", ["assert f(1) == 2"]),
        ("`triple(2)` donne 6", ["assert triple(2) == 6"]),
        ("f(n) is 5, f(2) is fun, a list of range(10) elements, f(x) = 2x", []),
        ("area(1.5) = 2.25 and not 2.255", ["assert area(1.5) == 2.25"]),
    ],
)
def test_examples(text: str, found: list[str]) -> None:
    assert cases.examples_of(text) == found


def test_test_files() -> None:
    assert cases.cases_of("x = 3\nassert f(x) == 1\nassert f(2)") == ["x = 3\nassert f(x) == 1", "x = 3\nassert f(2)"]
    assert cases.cases_of("def test_f():\n    assert f(1)") is None
    assert cases.cases_of("print(1)") is None
    assert cases.module_of("import os\nimport pytest\nfrom shapes.area import f") == "shapes.area"
    assert cases.module_of("assert f(1)") == "solution"
    assert cases.call_of("assert f(1, 'a') == 2") == "f(1, 'a')"
    assert cases.call_of("assert f(1)") == cases.call_of("assert f(1) < 2") == ""


def test_asserts_in_an_answer() -> None:
    answer = "Here:\n```python\nassert f(1) == 2  # why\n- assert f(2) == 4\nassert f(3 ==\nx = 1\n```"
    assert cases.asserts_in(answer) == ["assert f(1) == 2", "assert f(2) == 4"]
