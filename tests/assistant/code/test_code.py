"""Code skills with an engine that answers as told."""

from __future__ import annotations

import pytest

from colosse.assistant import code
from colosse.core.errors import TooLargeError, UserError
from colosse.engines.engines import Engines
from tests.fixtures.scripted import Scripted

GOOD = "Here it is:\n```python\ndef double(x):\n    return 2 * x\n```\nIt doubles."
BROKEN = "```python\ndef double(x:\n    return 2 * x\n```"
SOURCE = "def double(x):\n    return x + 2\n\n\ndef half(x):\n    return x / 2\n"


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


async def test_write(scripted: Scripted, client: Engines) -> None:
    scripted.reply = GOOD
    result = await code.write(client, "double a number")
    assert result.answer == "def double(x):\n    return 2 * x\n"
    assert result.note == "It doubles."
    assert (result.verified, result.failed) == (False, [])
    assert [c.name for c in result.checks] == ["complete", "not_empty", "code_block", "syntax"]
    assert "Python" in scripted.requests[0].body["messages"][1]["content"]


async def test_code_that_does_not_parse_is_asked_for_again(scripted: Scripted, client: Engines) -> None:
    answers = iter([BROKEN, GOOD])
    scripted.reply = lambda body: next(answers)
    result = await code.write(client, "double a number")
    assert result.failed == []
    assert "does not parse (line 1" in scripted.requests[1].body["messages"][-1]["content"]


async def test_prose_is_not_code(scripted: Scripted, client: Engines) -> None:
    scripted.reply = "I am sorry, I cannot do that."
    result = await code.write(client, "double a number")
    assert {c.name for c in result.failed} == {"code_block", "syntax"}
    scripted.reply = "def double(x):\n    return 2 * x"
    assert (await code.write(client, "double a number")).failed == []


async def test_fix_shows_file_and_log(scripted: Scripted, client: Engines) -> None:
    scripted.reply = "```python\n" + SOURCE.replace("x + 2", "2 * x") + "```\nThe sum was wrong."
    result = await code.fix(client, SOURCE, error="AssertionError: double(3) is 5\n")
    assert result.answer == SOURCE.replace("x + 2", "2 * x")
    assert result.failed == []
    request = scripted.requests[0].body["messages"][1]["content"]
    assert SOURCE in request
    assert "AssertionError: double(3) is 5" in request
    await code.fix(client, SOURCE, prompt_language="fr")
    assert "Trouve et corrige" in scripted.requests[-1].body["messages"][1]["content"]
    assert "Un des problèmes" not in scripted.requests[-1].body["messages"][1]["content"]


async def test_of_a_long_log_the_end_is_sent(scripted: Scripted, client: Engines) -> None:
    scripted.reply = GOOD
    await code.fix(client, SOURCE, error="noise line\n" * 5000 + "ValueError: the reason")
    request = scripted.requests[0].body["messages"][1]["content"]
    assert "ValueError: the reason" in request
    assert request.count("noise line") < 500


@pytest.mark.parametrize(
    ("answer", "problem"),
    [(SOURCE, "changed"), ("def double(x):\n    return 2 * x\n", "names"), ("def double(:\n", "syntax")],
)
async def test_fix_checks(scripted: Scripted, client: Engines, answer: str, problem: str) -> None:
    scripted.reply = f"```python\n{answer}```"
    result = await code.fix(client, SOURCE)
    assert [c.name for c in result.failed] == [problem]
    assert len(scripted.requests) == 2


async def test_optimize_a_file_that_does_not_parse_or_is_not_python(scripted: Scripted, client: Engines) -> None:
    scripted.reply = "```\nx = 1\n```"
    assert [c.name for c in (await code.optimize(client, "x = = 1")).failed] == []
    result = await code.optimize(client, "let x = 1 + 0;", language="rust")
    assert [c.name for c in result.checks] == ["complete", "not_empty", "code_block", "changed"]


async def test_a_file_too_long_for_the_model(scripted: Scripted, client: Engines) -> None:
    with pytest.raises(TooLargeError, match="at most about 1698 tokens of code"):
        await code.fix(client, "value = compute(1, 2, 3)\n" * 400)
    assert scripted.requests == []


async def test_nothing_to_do(client: Engines) -> None:
    with pytest.raises(UserError, match="empty"):
        await code.write(client, " ")
    with pytest.raises(UserError, match="empty"):
        await code.fix(client, "\n")
