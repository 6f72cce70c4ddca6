"""Code that passes its tests without doing what they ask."""

from __future__ import annotations

import pytest

from colosse.assistant import code
from colosse.assistant.code.control import run_tests, shortcuts, turned_round
from colosse.assistant.code.judge import run_cases
from colosse.engines.engines import Engines
from tests.fixtures.scripted import Scripted

HONEST = "def double(x):\n    return 2 * x\n"
TESTS = """\
import pytest
from solution import double

@pytest.mark.parametrize('x', [1, 3])
def test_double(x):
    assert double(x) == 2 * x

class TestMore:
    def test_even(self):
        assert double(4) % 2 == 0

def test_error():
    with pytest.raises(TypeError):
        double(None)
"""
REPORT = '<testsuite><testcase classname="test_given" name="test_double[1]"/></testsuite>'
ATTACKS = {
    "equals everything": """
class Any:
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __mod__ = lambda self, other: self
    __hash__ = None
def double(x):
    return Any() if x else [] + x
""",
    "replaces the tool": """
from _pytest import python
python.Function.runtest = lambda self: None
def double(x):
    return 0
""",
    "writes the report": f"""
import os, sys
path = next((a.split("=")[1] for a in sys.argv if "junitxml" in a), "x")
open(path, "w").write({REPORT!r})
print("5 passed in 0.01s")
os._exit(0)
""",
    "changes how tests are run": """
open("conftest.py", "w").write("")
import _pytest.assertion.rewrite, builtins, pytest
pytest.raises.__globals__["fail"] = lambda *a, **k: None
pytest.Function.runtest = lambda self: None
def double(x):
    return 0
""",
}


async def test_honest_code_passes() -> None:
    files = {"solution.py": HONEST, "test_given.py": TESTS}
    trial = await run_tests("pytest -q test_given.py", files, {"test_given.py": TESTS})
    assert (trial.ok, trial.passed) == (True, 4)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_passes_whatever_is_asked_is_not_believed(attack: str) -> None:
    files = {"solution.py": ATTACKS[attack], "test_given.py": TESTS}
    trial = await run_tests("pytest -q test_given.py", files, {"test_given.py": TESTS})
    assert not trial.ok
    assert "also when they ask for the opposite" in trial.problem


def test_turned_round() -> None:
    tests = """\
class TestA(TestCase):
    def test_a(self):
        self.assertEqual(f(1), 2)
        self.assertTrue(g())

async def test_b():
    assert f(1) > 2

def test_c():
    if x:
        return
    assert f(1) == 2

def helper():
    assert x
"""
    text, names = turned_round("tests/test_x.py", tests) or ("", set())
    assert names == {"tests.test_x.TestA::test_a", "tests.test_x::test_b"}
    for line in ("assertEqual(f(1), object())", "assertFalse(g())", "not f(1) > 2", "assert f(1) == 2", "assert x"):
        assert line in text
    assert turned_round("test_x.py", "def test_a(:") is None
    assert turned_round("test_x.py", "def test():\n    f()\n") is None


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def __eq__(self, o): return True\n    def __ne__(self, o): return False\ndef f(x): return A()\n",
        "class A(list):\n    def __eq__(self, o): return True\ndef f(x): return A()\n",
        "class A(int):\n    def __eq__(self, o): return True\n    __hash__ = None\ndef f(x): return [A()]\n",
        "import builtins\nbuiltins.repr = lambda x: '[2]'\ndef f(x): return 0\n",
        "import sys\ndef f(x):\n    frame, seen = sys._getframe(), ''\n    while frame:\n"
        "        seen += str(frame.f_locals)\n"
        "        frame = frame.f_back\n    return [2] if '[2]' in seen else []\n",
    ],
)
async def test_cases_are_compared_where_the_code_is_not(source: str) -> None:
    trial = await run_cases(source, ["assert f(1) == [2]", "y = [f(1)]\nassert y == [[2]]"])
    assert (trial.ok, trial.passed) == (False, 0)


async def test_values_of_every_kind_are_compared() -> None:
    source = """
from collections import *
from decimal import Decimal
from fractions import Fraction
import re
import numpy as np
P = namedtuple('P', 'a b')
class Odd:
    def __eq__(self, other): return True
"""
    right = [
        "P(1, [2.5]) == (1, [2.5])",
        "Counter('aab') == {'a': 2, 'b': 1}",
        "Fraction(1, 2) == 0.5",
        "[Decimal('1.5')] == [1.5]",
        "{'a': {1, 2}, (1, 2): None} == {(1, 2): None, 'a': {2, 1}}",
        "frozenset([1]) == {1}",
        "[b'x', 1j, 'é\\ud800', 10**30, float('inf')] == [b'x', 1j, 'é\\ud800', 1" + "0" * 30 + ", 1e999]",
        "np.int64(3) == 3",
        "1 == True",
        "(1 == 2) is False",
        "re.match('a', 'ab')",
        "not re.match('b', 'a')",
        "re.compile('a') != 3",
        "re.compile('a') == re.compile('a')",
        "0.1 + 0.2 > 0.3",
    ]
    trial = await run_cases(source, [f"assert {case}" for case in right])
    assert [o.error for o in trial.outcomes] == [""] * len(right)
    wrong = ["[1] == (1,)", "len('a') is True", "re.compile('a') == 'a'", "float('nan') == 1", "[[]] == [()]", "''"]
    wrong += ["Odd() == Odd()", "P == 'P'", "not 1"]
    trial = await run_cases(source, [f"assert {case}" for case in wrong])
    assert [o.passed for o in trial.outcomes] == [False] * len(wrong)
    assert trial.outcomes[0].error == "AssertionError: [1] is [1], not (1,)"
    assert trial.outcomes[-1].error == "AssertionError: not true: not 1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("def f(n):\n    if n == 17:\n        return 34\n    return n\n", "34 for 17 alone"),
        ("def f(n):\n    return 34 if n in (17, 5) else n\n", "34 for 17 alone"),
        ("def f(n):\n    match n:\n        case 17:\n            return 34\n    return n\n", "34 for 17 alone"),
        ("def f(n):\n    'Double.'\n    return 34\n", "whatever it is given"),
        ("def f(n):\n    try:\n        return 1 / n\n    except Exception:\n        return 0\n", "catches every error"),
        ("import contextlib as c\ndef f(n):\n    with c.suppress(Exception):\n        g()\n", "catches every error"),
        ("def f(n):\n    if n == 0:\n        return 1\n    return n\n", ""),
        ("def f(n):\n    if n == 18:\n        return 34\n    return n\n", ""),
        ("def f(n):\n    try:\n        return 1 / n\n    except ZeroDivisionError:\n        return 0\n", ""),
    ],
)
def test_shortcuts(change: str, said: str) -> None:
    found = shortcuts("def f(n):\n    return n\n", change, ["assert f(17) == 34\nassert f(0) == 1\n"])
    assert said in found
    assert bool(found) == bool(said)
    assert shortcuts(change, change, ["assert f(17) == 34"]) == ""


async def test_a_fix_that_only_fits_its_tests_is_sent_back(scripted: Scripted, client: Engines) -> None:
    bug = "def double(x):\n    return x + 2\n"
    tests = "from calc import double\n\n\ndef test():\n    assert double(17) == 34\n"
    special = bug.replace("return", "if x == 17:\n        return 34\n    return")
    scripted.reply = lambda body: (
        f"```python\n{HONEST if 'for all inputs' in str(body['messages'][-1]) else special}```"
    )
    result = await code.fix(client, {"calc.py": bug, "test_calc.py": tests}, command="pytest -q", candidates=1)
    assert (result.verified, result.answer) == (True, HONEST)
    assert "34 for 17 alone" in result.transcript[1].output


async def test_given_tests_are_turned_round(scripted: Scripted, client: Engines) -> None:
    scripted.reply = f"```python\n{ATTACKS['equals everything']}```"
    result = await code.write(client, "double", tests=TESTS, candidates=1)
    assert (result.verified, result.failed[0].name) == (False, "tests")
    assert "opposite" in result.failed[0].detail
