"""Inputs are found for functions of every kind, and what two versions make of them is compared."""

from __future__ import annotations

import math
import types
from typing import Any

import pytest

from colosse.assistant.code.differential import (
    difference,
    record,
    replay,
    same,
    steady,
)
from colosse.assistant.code.inside import shapes
from colosse.assistant.code.inside.outcomes import Bench, plain, run_call

MANY = '''
import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass

class Colour(enum.Enum):
    RED = 1
    BLUE = 2

@dataclass
class Point:
    x: int
    y: int = 0

def unhashable(rows: list[list[int]]) -> list[list[int]]:
    return [row for i, row in enumerate(rows) if row not in rows[:i]]

def evens(numbers: Iterator[int]):
    for number in numbers:
        if number % 2 == 0:
            yield number

def shifted(point: Point, colour: Colour, by: float = 1.5) -> Point:
    return Point(point.x + 1, point.y) if colour is Colour.RED else point

def first(items):
    """The first.

    >>> first(["a", "b"])
    'a'
    """
    if not items:
        raise LookupError("none")
    return items[0]

def sort_in_place(values: list[float]) -> None:
    values.sort(key=abs)
    print(len(values))

def guess(n: int):
    return random.random() * n

def strange(thing):
    return thing.spin().swim

async def later(n: int) -> int:
    return n + 1

class Stack:
    def __init__(self, limit: int = 3):
        self._items = []
        self._limit = limit

    def push(self, value: int) -> int:
        if len(self._items) >= self._limit:
            raise OverflowError("full")
        self._items.append(value)
        return len(self._items)

    def pop(self) -> int:
        return self._items.pop()
'''


async def test_inputs_of_every_kind_are_found_and_versions_told_apart() -> None:
    found = await record(MANY, "solution", num_cases=25)
    known = {tested.name: (tested.arguments, tested.why) for tested in found.functions}
    assert known["unhashable"] == ("rows: list of list of int", "annotations")
    assert known["evens"][0] == "numbers: iterator of int"
    assert known["shifted"] == (
        "point: Point, colour: one of Colour.RED, Colour.BLUE, by: float",
        "annotations",
    )
    assert known["first"] == ("items: list of str", "calls")
    assert found.skipped == {"strange": "no arguments were found that it accepts"}
    assert {tested.name for tested in found.functions if tested.cases > 5} >= {"Stack", "later", "sort_in_place"}

    first, second = [await replay(MANY, "solution", found.cases, [], seed) for seed in "01"]
    kept, changing = steady(found.cases, first, second)
    assert changing
    assert all(call.startswith("guess(") for call in changing)
    again = await replay(MANY, "solution", found.cases, [], "2")
    assert difference(found.cases, [], first, again, kept) is None

    for before, after, said in [
        ("print(len(values))", "print(len(values) + 1)", "and prints"),
        ("values.sort(key=abs)", "values = sorted(values, key=abs)", "with its arguments left as"),
        (
            'LookupError("none")',
            'ValueError("none")',
            "first([]) gives the exception ValueError, not the exception LookupError",
        ),
        ("number % 2 == 0", "number % 4 == 0", "an iterator of ["),
        ("point.x + 1", "point.x + 2", "Point(x="),
        ("n + 1", "n + 2", "later("),
        ("self._items.pop()", "self._items.pop(0)", "x.pop()"),
        ("return [row for i, row in enumerate(rows) if row not in rows[:i]]", "return list(set(rows))", "TypeError"),
        ("if not items:", "while not items: pass\n    if 0:", "no end"),
        ("if not items:", "import os\n    os._exit(0)\n    if 0:", "the process ended with exit code 0"),
    ]:
        assert before in MANY
        got = await replay(MANY.replace(before, after), "solution", found.cases, [], "2", call_s=0.3)
        assert said in str(difference(found.cases, [], first, got, kept)), after


async def test_types_come_from_the_bench_and_the_tests() -> None:
    source = "def pairs(a, b):\n    return [(x, y) for x in a for y in b if x == y]\n"
    found = await record(source, "solution", bench="pairs({'a', 'b'}, ('a',))", num_cases=5)
    assert found.functions[0].arguments == "a: set of str, b: (str)"
    found = await record(source, "solution", tests="def test():\n    assert pairs([1.5], [2.5]) == []\n", num_cases=5)
    assert found.functions[0].arguments == "a: list of float, b: list of float"
    assert found.functions[0].why == "calls"


async def test_a_call_is_made_large_enough() -> None:
    source = "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
    found = await record(source, "solution", search=True, num_cases=10)
    number = int(found.bench.removeprefix("fib(").removesuffix(")"))
    assert 18 < number < 45
    assert found.functions[0].cases > 3  # not one with a number of hundreds, which takes for ever


async def test_a_file_that_cannot_be_loaded_says_why() -> None:
    assert (await record("import no_such_thing\n", "solution")).error.startswith("ModuleNotFoundError")
    assert (await record("raise SystemExit(2)\n", "solution")).error == "SystemExit: 2"
    assert "ZeroDivisionError" in (await replay("1 / 0\n", "solution", [], [])).broken


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (0.1 + 0.2, 0.3, True),
        (math.nan, math.nan, True),
        (math.inf, -math.inf, False),
        (1, 1.0, False),
        (1, True, False),
        ([1], (1,), False),
        ({1, 2}, {2, 1}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        (["float", "a", "b"], ["float", "a", "b"], True),
        (["float", "a", "b"], ["float", "a", "c"], False),
        (10**400, 10**400, True),
        (10**400, 10**400 + 1, False),
        ("\ud800", "\ud800", True),
        (range(3), range(4), False),
        ([[math.nan, 1e-12]], [[math.nan, 0.0]], True),
        (1 + 2j, 1 + 2.5j, False),
    ],
)
def test_same(one: Any, other: Any, equal: bool) -> None:
    assert same(plain(one), plain(other)) is equal


def test_what_contains_itself_is_made_plain() -> None:
    around: list[Any] = [1]
    around.append(around)
    assert plain(around) == ["sequence", "list", [1, ["again", 1]]]


def test_a_list_of_the_files_own_is_no_list() -> None:
    assert plain(type("list", (list,), {})([1])) == ["sequence", "own list", [1]]


def test_arguments_of_a_call_are_not_part_of_what_is_timed() -> None:
    made = []
    module = types.SimpleNamespace(f=lambda x, k=0: x + k, make=lambda: made.append(1) or 5)
    run = Bench("n = make()\nf(n, k=make())").prepare(module)  # type: ignore[arg-type]
    assert made == [1, 1]
    assert run() == 10
    assert Bench("for i in range(3):\n    total = i").prepare(module)() == {"i": 2, "total": 2}  # type: ignore[arg-type]
    assert Bench("f(1) + f(2)").prepare(module)() == 3  # type: ignore[arg-type]
    failed = run_call(lambda: ((), {}), types.SimpleNamespace(f=lambda: 1 / 0), "f", 1)
    assert failed == {"error": "ZeroDivisionError", "out": ""}


@pytest.mark.parametrize(
    "shape",
    [
        *(shape for shape in shapes.LADDER if shape != shapes.GRAPH),
        ("tuple_of", shapes.STR),
        ("set", ("tuple", shapes.INT, shapes.STR)),
    ],
)
def test_large_values_are_python_of_that_shape(shape: shapes.Shape) -> None:
    for repeating in (False, True):
        value = eval(shapes.large(shape, 20, repeating=repeating))
        assert shapes.of_value(value) == shape
