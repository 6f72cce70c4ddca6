"""Code that is written, with an engine that answers well, badly, and differently each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from colosse.assistant import code
from colosse.core.errors import UserError
from colosse.engines.engines import Engines
from tests.fixtures.scripted import Scripted

RIGHT = "def double(x):\n    return 2 * x\n"
WRONG = "def double(x):\n    return x + 2\n"
LEAVES = "import os\nos._exit(0)\ndef double(x):\n    return 0\n"


def block(text: str, language: str = "python") -> str:
    return f"```{language}\n{text}```\nIt doubles."


def by_seed(answers: dict[int, str], tests: str = "") -> Callable[[Any], str]:
    """Answers by the request's seed (0: greedy), and the answer to a request for tests."""

    def reply(body: Any) -> str:
        if "assert name(arguments)" in body["messages"][-1]["content"]:
            return tests
        return block(answers[body.get("seed") or 0])

    return reply


async def test_examples_of_the_task_prove_it(scripted: Scripted, client: Engines) -> None:
    scripted.reply = block(RIGHT)
    result = await code.write(client, "Double a number: double(1) == 2, double(2) == 4, double(-3) == -6")
    assert (result.verified, result.tests_from, result.failed, result.answer) == (True, "examples", [], RIGHT)
    assert (result.note, len(scripted.requests)) == ("It doubles.", 1)
    assert [(s.passed, s.failed) for s in result.transcript] == [(3, 0)]
    assert result.tests.splitlines()[0] == "assert double(1) == 2"


async def test_the_candidate_that_passes_is_kept(scripted: Scripted, client: Engines) -> None:
    scripted.reply = by_seed({0: WRONG, 1: "def double(x:\n", 2: RIGHT, 3: LEAVES})
    result = await code.write(client, "Double: double(3) == 6", tests="")
    assert (result.verified, result.answer) == (True, RIGHT)
    outputs = " ".join(step.output for step in result.transcript)
    assert "double(3) is 5, not 6" in outputs
    assert "SyntaxError" in outputs
    assert "before the tests were done" in outputs


async def test_repaired_from_the_real_error(scripted: Scripted, client: Engines) -> None:
    def reply(body: Any) -> str:
        return block(RIGHT if "double(3) is 5, not 6" in body["messages"][-1]["content"] else WRONG)

    scripted.reply = reply
    result = await code.write(client, "Double: double(3) == 6", candidates=2)
    assert (result.verified, result.answer) == (True, RIGHT)
    assert result.transcript[-1].attempt.endswith("(repair)")


async def test_when_none_passes_it_says_so(scripted: Scripted, client: Engines) -> None:
    scripted.reply = block(WRONG)
    result = await code.write(client, "Double: double(3) == 6; double(2) == 4", candidates=2)
    assert (result.verified, result.answer) == (False, WRONG)
    (failed,) = result.failed
    assert (failed.name, "1 of 2 pass" in failed.detail, "is 5, not 6" in failed.detail) == ("examples", True, True)


async def test_prose_is_no_code(scripted: Scripted, client: Engines) -> None:
    scripted.reply = "I cannot help\nwith that."
    result = await code.write(client, "Double: double(3) == 6", candidates=1)
    assert (result.answer, result.note, result.verified) == ("", "I cannot help with that.", False)
    assert [c.name for c in result.failed] == ["code_block", "examples"]
    scripted.reply = RIGHT  # without its fence
    assert (await code.write(client, "double(3) == 6; double(2) == 4; double(1) == 2")).verified


async def test_given_tests_judge(scripted: Scripted, client: Engines) -> None:
    tests = "from numbers_of import double\n\ndef test_double():\n    assert double(3) == 6\n"
    scripted.reply = by_seed({0: LEAVES, 1: RIGHT})
    result = await code.write(client, "double a number", tests=tests, candidates=2)
    assert (result.verified, result.tests_from, result.answer) == (True, "given", RIGHT)
    assert "module `numbers_of`" in scripted.requests[0].body["messages"][1]["content"]
    scripted.reply = block(LEAVES)
    assert not (await code.write(client, "double", tests=tests, candidates=1)).verified
    plain = await code.write(client, "double", tests="from solution import double\nassert double(0) == 0", candidates=1)
    assert not plain.verified


async def test_the_models_own_tests_are_agreement_and_no_proof(scripted: Scripted, client: Engines) -> None:
    tests = "assert double(3) == 6\nassert double(4) == 8\nassert double(5) == 11\nassert double('a') == 2"
    scripted.reply = by_seed({0: WRONG, 1: RIGHT, 2: RIGHT, 3: RIGHT.replace("2 * x", "x + x")}, tests)
    result = await code.write(client, "Double a number.")
    assert (result.answer, result.verified, result.tests_from) == (RIGHT, False, "model")
    assert result.failed == []
    assert "2 of 2, 2 dropped" in result.checks[-1].detail
    assert result.tests == "assert double(3) == 6\nassert double(4) == 8\n"
    scripted.reply = by_seed({0: RIGHT}, "I cannot.")
    result = await code.write(client, "Double a number.", candidates=1)
    assert "no test" in result.failed[0].detail


async def test_agreement_chooses_among_those_that_pass_few_examples(scripted: Scripted, client: Engines) -> None:
    special = "def double(x):\n    return 6\n"
    scripted.reply = by_seed({0: special, 1: RIGHT, 2: RIGHT, 3: RIGHT}, "assert double(1) == 2\nassert double(9) == 3")
    result = await code.write(client, "Double: double(3) == 6")
    assert (result.answer, result.verified) == (RIGHT, True)
    scripted.reply = by_seed({0: special, 1: special}, "assert double(1) == 2\nassert double(9) == 18")
    result = await code.write(client, "Double: double(3) == 6", candidates=2)
    assert (result.verified, [c.name for c in result.failed]) == (False, ["beyond_examples"])


async def test_another_language_with_a_test_program(scripted: Scripted, client: Engines) -> None:
    if not code.programs.present("c"):
        pytest.skip("no C compiler")
    tests = '#include "solution.c"\nint main(void) { return twice(3) == 6 ? 0 : 1; }\n'
    scripted.reply = by_seed({0: "int twice(int x) { return x + 2; }\n", 1: "int twice(int x) { return 2 * x; }\n"})
    result = await code.write(client, "twice", language="c", tests=tests, candidates=2)
    assert (result.verified, result.answer) == (True, "int twice(int x) { return 2 * x; }\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": " "}, "empty"),
        ({"candidates": 0}, "are none"),
        ({"tests": "def ("}, "do not parse"),
        ({"tests": "x", "language": "haskell"}, "Haskell is not run here"),
    ],
)
async def test_bad_input(client: Engines, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        await code.write(client, **{"task": "x", **options})
