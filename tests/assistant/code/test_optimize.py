"""Optimising with an engine that answers as told: what is equal and faster is taken, everything else is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from colosse.assistant.code import OptimizeResult, optimize
from colosse.assistant.code.interface import changed_definitions, check_interface
from colosse.assistant.code.versions import is_statement, module_name, varied
from colosse.core.errors import TooLargeError, UserError
from colosse.engines.engines import Engines
from tests.fixtures.scripted import Scripted

SLOW = """
def common(a, b):
    found = []
    for x in a:
        for y in b:
            if x == y and x not in found:
                found.append(x)
    return found
"""
FAST = """
def common(a, b):
    wanted = set(b)
    return list(dict.fromkeys(x for x in a if x in wanted))
"""
WRONG = "def common(a, b):\n    return sorted(set(a) & set(b), reverse=True)\n"
BENCH = "common(range(300), range(150, 450))"
TRIANGLE = (
    "def total(n):\n    s = 0\n    for i in range(n):\n        for j in range(100):\n            s += 1\n    return s\n"
)
TRIANGLE_FAST = "def total(n):\n    return 100 * max(n, 0)\n"


def block(code: str, said: str = "") -> str:
    return f"```python\n{code.strip()}\n```\n{said}"


def answers(*codes: str) -> Callable[[Any], str]:
    """The codes one after the other, the last one again and again."""
    left: Iterator[str] = iter(codes)
    last = [""]

    def reply(_: Any) -> str:
        last[0] = next(left, last[0])
        return block(last[0], "Faster.")

    return reply


def detail(result: OptimizeResult, name: str) -> str:
    return next(check.detail for check in result.failed if check.name == name)


async def test_faster_and_equal_is_taken(scripted: Scripted, client: Engines) -> None:
    scripted.reply = answers(FAST)
    result = await optimize(client, SLOW, bench=BENCH, candidates=2)
    assert result.answer == FAST.strip() + "\n"
    assert result.verified, result.failed
    assert result.note == "Faster."
    assert 3 < result.interval[0] <= result.speedup <= result.interval[1]
    assert result.before_s > 3 * result.after_s > 0
    assert result.num_cases > 20
    assert result.functions[0].arguments == "a: list of int, b: list of int"
    assert (result.bench, result.language, result.tests_from) == (BENCH, "python", "")
    assert sorted(step.failed for step in result.transcript) == [0, 0, 1]  # the second candidate is the same
    assert BENCH not in str([request.body for request in scripted.requests])
    assert result.usage.total_tokens > 0


async def test_a_wrong_one_is_told_of_a_call_that_shows_it(scripted: Scripted, client: Engines) -> None:
    scripted.reply = answers(WRONG, FAST)
    result = await optimize(client, SLOW, bench=BENCH, candidates=1)
    assert result.verified, result.failed
    told = scripted.requests[1].body["messages"][-1]["content"]
    assert "the result is another one: common([" in told
    assert len(scripted.requests) == 2
    scripted.reply = answers(WRONG)
    result = await optimize(client, SLOW, bench=BENCH, candidates=1)
    assert (result.answer, result.verified, result.speedup) == (SLOW, False, 1.0)
    assert detail(result, "equal").startswith("common([")
    assert "as it was" in result.note


async def test_given_tests_count(scripted: Scripted, client: Engines) -> None:
    tests = "from fast import total\n\ndef test_total():\n    assert total(3) == 300\n    assert total(-1) == 0\n"
    scripted.reply = answers("def total(n):\n    return 100 * n\n")
    result = await optimize(client, TRIANGLE, bench="total(500)", tests=tests, name="fast.py", candidates=1)
    assert not result.verified
    assert "assert" in detail(result, "tests")
    scripted.reply = answers(TRIANGLE_FAST)
    result = await optimize(client, TRIANGLE, bench="total(500)", tests=tests, name="fast.py", candidates=1)
    assert result.verified, result.failed
    assert result.tests_from == "given"
    with pytest.raises(UserError, match="the tests fail on the file as it is"):
        await optimize(client, TRIANGLE, bench="total(20)", tests="assert total(1) == 5", candidates=1)


CACHED = f"_CACHE = {{}}\n{TRIANGLE.replace('def total', 'def _slow')}" + (
    "def total(n):\n    if n not in _CACHE:\n        _CACHE[n] = _slow(n)\n    return _CACHE[n]\n"
)


@pytest.mark.parametrize(
    ("trick", "check"),
    [
        (CACHED, "faster"),
        (TRIANGLE.replace("    s = 0", "    if n == 500:\n        return 50000\n    s = 0"), "other_inputs"),
        (f"import time\ntime.perf_counter_ns = lambda: 0\n{TRIANGLE}", "imports"),
        (TRIANGLE.replace("s += 1", "s += 1; s += 0"), "faster"),
        ("def total(n):\n    while True:\n        pass\n", "equal"),
        ("def total(n):\n    return total(n)\n", "equal"),
        ("def total(n):\n    return len([0] * 10**12)\n", "equal"),
        ("def total(n:\n", "syntax"),
    ],
)
async def test_what_is_not_really_faster_is_not_taken(
    scripted: Scripted, client: Engines, trick: str, check: str
) -> None:
    scripted.reply = answers(trick)
    result = await optimize(client, TRIANGLE, bench="total(500)", candidates=1)
    assert (result.answer, result.verified, result.speedup) == (TRIANGLE, False, 1.0)
    assert {failed.name for failed in result.failed} & {check, "other_inputs"}


async def test_an_input_is_found_when_none_is_given(scripted: Scripted, client: Engines) -> None:
    scripted.reply = answers(TRIANGLE_FAST)
    result = await optimize(client, TRIANGLE, candidates=1)
    assert result.verified, result.failed
    assert result.bench.startswith("total(")
    assert result.speedup > 100
    assert result.functions[0].why == "trying"


async def test_what_changes_from_run_to_run_is_said(scripted: Scripted, client: Engines) -> None:
    code = f"import random\n\n{TRIANGLE.replace('s = 0', 's = random.random()')}"
    scripted.reply = answers(TRIANGLE_FAST)
    result = await optimize(client, code, bench="total(500)", candidates=1)
    assert (result.answer, result.verified) == (code, False)
    assert "total(" in detail(result, "deterministic")
    assert scripted.requests == []  # nothing could be compared, so nothing is asked


async def test_what_was_never_called_is_not_verified(scripted: Scripted, client: Engines) -> None:
    odd = "\n\ndef odd(thing):\n    return thing.spin().swim\n"
    scripted.reply = answers(TRIANGLE_FAST + odd.replace("swim", "float"))
    result = await optimize(client, TRIANGLE + odd, bench="total(500)", candidates=1)
    assert result.skipped.keys() == {"odd"}
    assert not result.verified
    assert detail(result, "compared") == "odd"
    scripted.reply = answers(TRIANGLE_FAST + odd)
    assert (await optimize(client, TRIANGLE + odd, bench="total(500)", candidates=1)).verified


async def test_a_class_by_its_methods(scripted: Scripted, client: Engines) -> None:
    code = (
        "class Counter:\n    def __init__(self):\n        self._seen = []\n\n"
        "    def add(self, word: str) -> int:\n        self._seen.append(word)\n        return self._seen.count(word)\n"
    )
    fast = (
        "class Counter:\n    def __init__(self):\n        self._seen = {}\n\n"
        "    def add(self, word: str) -> int:\n        count = self._seen[word] = self._seen.get(word, 0) + 1\n"
        "        return count\n"
    )
    bench = "c = Counter()\nfor i in range(900):\n    c.add('word' + str(i % 700))"
    scripted.reply = answers(fast.replace("+ 1", "+ 2"), fast)
    result = await optimize(client, code, bench=bench, candidates=1)
    assert result.verified, result.failed
    assert "x = Counter(); x.add(" in result.transcript[0].output
    assert result.speedup > 3


async def test_a_script_is_timed_whole(scripted: Scripted, client: Engines) -> None:
    script = "total = 0\nfor i in range(1_000_000):\n    total += i % 7\nprint(total)\n"
    scripted.reply = answers(
        "print(0)\n",
        "n, r = divmod(1_000_000, 7)\nprint(n * 21 + sum(range(r)))\n",
    )
    result = await optimize(client, script, candidates=1)
    assert result.verified, result.failed
    assert (result.bench, result.num_cases) == ("python solution.py", 1)
    assert "line 1 of the output is '0'" in result.transcript[0].output
    assert result.before_mb > 1


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
async def test_c_by_a_command(scripted: Scripted, client: Engines) -> None:
    slow = (
        "#include <stdio.h>\nint main(void) {\n    volatile long s = 0;\n"
        '    for (long i = 0; i < 60000000; i++) s += 1;\n    printf("%ld\\n", s);\n}\n'
    )
    fast = '#include <stdio.h>\nint main(void) {\n    printf("%ld\\n", 60000000L);\n}\n'
    scripted.reply = f"```c\n{fast}```"
    result = await optimize(
        client, slow, language="c", bench="cc -O1 sum.c -o sum && ./sum", name="sum.c", candidates=1
    )
    assert result.verified, result.failed
    assert result.speedup > 5
    with pytest.raises(UserError, match="the bench fails on the file as it is"):
        await optimize(client, slow, language="c", bench="no-such-compiler sum.c", name="sum.c", candidates=1)


@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        (" ", {}, "the file is empty"),
        ("def f(:", {}, "does not parse"),
        ("int x;", {"language": "c"}, "timed by a command"),
        (SLOW, {"bench": "common([1])"}, "fails on the file as it is"),
        ("def f(thing):\n    return thing.spin()\n", {}, "no call was found"),
        ("import no_such_module\n\ndef f(n):\n    return n\n", {"bench": "f(1)"}, "cannot be loaded"),
    ],
)
async def test_refusals(scripted: Scripted, client: Engines, code: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        await optimize(client, code, **options)  # type: ignore[arg-type]


async def test_a_file_too_large_for_the_model(scripted: Scripted, client: Engines) -> None:
    with pytest.raises(TooLargeError, match="do not fit"):
        await optimize(client, SLOW * 200, bench=BENCH)


def test_interface() -> None:
    code = "import os\n\nclass A:\n    def f(self, x: int = 1): ...\n\n    def _g(self): ...\n\n"
    code += "if __name__ == '__main__':\n    pass\n"

    def failed(other: str) -> dict[str, str]:
        return {check.name: check.detail for check in check_interface(code, other) if not check.passed}

    assert failed(code.replace("x: int = 1", "x = 1").replace("_g", "_h")) == {}
    assert failed(code.replace("x: int = 1", "x: int = 2")) == {"parameters": "A.f"}
    assert failed(code.replace("class A", "class A(dict)")) == {"parameters": "A"}
    assert failed(code.replace("def f", "async def f")) == {"parameters": "A.f"}
    assert failed(code.partition("if __name__")[0]) == {"names": 'if __name__ == "__main__"'}
    assert failed(code) == {"changed": ""}
    assert failed(f"import heapq, sys\n{code}") == {"imports": "sys"}
    assert failed(f"__builtins__['len'] = 1\n{code}") == {"imports": "__builtins__"}
    assert failed(f"{code}\nopen('/tmp/cache', 'w')\n") == {"imports": "open"}
    assert failed(f"{code}\nA.f.__globals__['__builtins__'] = 1\n") == {"imports": "__globals__"}
    assert failed(f"{code}\nopen = vars = []\nos.open('x')\n") == {}
    assert failed(f"{code}\nos.getcwd = 1\nsetattr(os, 'a', 1)\n") == {"patches": "os.getcwd, setattr(os)"}
    assert changed_definitions(code, code.replace("x: int = 1", "y"), ["A.f", "A._g"]) == ["A.f"]


def test_benches() -> None:
    assert is_statement("f(1)")
    assert is_statement("from a import f\nf(1)")
    assert not is_statement("pytest")
    assert not is_statement("python bench.py")
    assert varied("f(range(100), 3)") == "f(range(85), 3)"
    assert varied("f('text', True)") == ""
    assert [module_name(path) for path in ("a/b.py", "a-b.py", "test_x.py", "")] == [
        "b",
        "solution",
        "solution",
        "solution",
    ]
