"""Code explained and translated: what is said was run."""

from __future__ import annotations

from typing import Any

import pytest

from colosse.assistant import code
from colosse.assistant.code import programs
from colosse.assistant.code.translate import alike
from colosse.core.errors import TooLargeError, UserError
from colosse.engines.engines import Engines
from tests.fixtures.scripted import Scripted

SOURCE = "def double(x):\n    return 2 * x\n"
CALLS = "```python\nassert double(3) == 7\nassert double('a') == 'aa'\nassert double() == 0\n```"


def reply_with(*answers: str) -> Any:
    """Answers to a request for calls, then to the others in turn."""
    rest = iter(answers)

    def reply(body: Any) -> str:
        return CALLS if "assert name(arguments)" in body["messages"][-1]["content"] else next(rest)

    return reply


async def test_explain_shows_what_was_run(scripted: Scripted, client: Engines) -> None:
    scripted.reply = reply_with("`double` multiplies `x` by two. `double(4)` returns `8`.")
    result = await code.explain(client, SOURCE, question="Why?")
    assert (result.verified, result.dropped) == (True, [])
    assert [(e.call, e.value, e.right) for e in result.examples] == [
        ("double(3)", "6", False),
        ("double('a')", "'aa'", True),
    ]
    assert result.answer.endswith("```pycon\n>>> double(3)\n6\n>>> double('a')\n'aa'\n```\n")
    request = scripted.requests[-1].body["messages"][-1]["content"]
    assert "double(3) -> 6" in request
    assert "Answer this question above all: Why?" in request


async def test_wrong_statements_are_left_out(scripted: Scripted, client: Engines) -> None:
    scripted.reply = reply_with("It doubles. `double(4)` returns `9`. It calls `triple` for that. Use `len(x)` on it.")
    result = await code.explain(client, SOURCE)
    assert (result.verified, [c.name for c in result.failed]) == (False, ["statements"])
    assert result.answer.startswith("It doubles. Use `len(x)` on it.\n")
    assert [why.split(":")[0] for why in result.dropped] == ["not so when run", "no `triple` in the code"]


async def test_what_cannot_be_run_is_not_verified(scripted: Scripted, client: Engines) -> None:
    scripted.reply = "`twice` doubles."
    result = await code.explain(client, "int twice(int x) { return 2 * x; }", language="c")
    assert (result.verified, [c.name for c in result.failed]) == (False, ["examples"])
    with pytest.raises(UserError, match="empty"):
        await code.explain(client, " ")
    with pytest.raises(TooLargeError):
        await code.explain(client, "x = compute(1, 2)\n" * 2000)


async def test_translated_code_does_the_same(scripted: Scripted, client: Engines) -> None:
    target = next((t for t in ("javascript", "c") if programs.present(t)), "")
    if not target:
        pytest.skip("no other toolchain")
    wrong, right = {
        "javascript": (
            "const double = x => x + 2;\nconsole.log(double(3));\nconsole.log(double('a'));\n",
            "const double = x => typeof x === 'string' ? x + x : 2 * x;\n"
            "console.log(double(3));\nconsole.log(double('a'));\n",
        ),
        "c": (
            '#include <stdio.h>\nint main() { puts("5\\naa"); }\n',
            '#include <stdio.h>\nint main() { puts("6\\naa"); }\n',
        ),
    }[target]
    scripted.reply = reply_with(f"```\n{wrong}```", f"```\n{right}```")
    result = await code.translate_code(client, SOURCE, source="python", target=target)
    assert (result.verified, result.answer) == (True, right)
    assert [(s.passed, s.failed) for s in result.transcript] == [(0, 1), (1, 0)]
    told = scripted.requests[-1].body["messages"][-1]["content"]
    assert "line 1 of the output is wrong: 5" in told


async def test_a_program_that_reads_is_compared_on_inputs(scripted: Scripted, client: Engines) -> None:
    source = "n = int(input())\nprint(n * 2)\n"
    if not programs.present("c"):
        pytest.skip("no C compiler")
    program = '#include <stdio.h>\nint main() { int n; scanf("%d", &n); printf("%d\\n", n * 2); }\n'
    answers = iter(["```\n3\n```\n```\n-1\n```\n```\nx\n```", f"```c\n{program}```"])
    scripted.reply = lambda body: next(answers)
    result = await code.translate_code(client, source, source="python", target="c")
    assert result.verified
    assert result.checks[-1].detail == "2 of 2 outputs are equal"


async def test_a_translation_that_cannot_be_run(scripted: Scripted, client: Engines) -> None:
    scripted.reply = "```haskell\nmain = print 1\n```"
    result = await code.translate_code(client, "print(1)\n", source="python", target="haskell")
    assert (result.verified, result.failed[0].detail) == (False, "Haskell is not run here")
    with pytest.raises(UserError, match="Python already"):
        await code.translate_code(client, "print(1)", source="python", target="python")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("True [1, 2]\n", "true [1,2]", True),
        ("2.0", "2", True),
        ("0.30000000000000004", "0.3", True),
        ("None 'a'", 'null "a"', True),
        ("1\n2", "1 2", False),
        ("12", "1 2", False),
        ("-1", "1", False),
        ("ab", "a b", False),
    ],
)
def test_outputs_alike(one: str, other: str, same: bool) -> None:
    assert alike(one, other) is same
