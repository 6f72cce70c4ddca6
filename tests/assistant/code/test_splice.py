"""Parts of a file that models answer with in place of the file."""

from __future__ import annotations

import pytest

from colosse.assistant.code.patch import apply_edits, parse_edits
from colosse.assistant.code.splice import whole

FILE = """\
import re
from math import *

RATE = 20


def tax(x):
    return x * RATE


class Shop:
    name = "shop"

    @property
    def size(self):
        return 1

    def total(self, x):
        return x + tax(x)


print(tax(1))
"""
TAX = "def tax(x):\n    return x * RATE / 100\n"
RIGHT = FILE.replace("x * RATE", "x * RATE / 100")


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([RIGHT], RIGHT),
        ([TAX], RIGHT),
        ([f"{TAX}\nprint(tax(3))\n"], RIGHT),
        ([FILE, TAX], RIGHT),
        ([RIGHT.split("\n\n\n", 1)[1]], f"import re\nfrom math import *\nRATE = 20\n{RIGHT.split(chr(10) * 3, 1)[1]}"),
        (["def total(self, x):\n    return x\n"], FILE.replace("x + tax(x)", "x")),
        (["class Shop:\n    def total(self, x):\n        return x\n"], FILE.replace("x + tax(x)", "x")),
        (["RATE = 0.2\n"], FILE.replace("20", "0.2")),
        (
            ["class Shop:\n    @cached\n    def size(self):\n        return 2\n"],
            FILE.replace("property", "cached").replace("1\n\n ", "2\n\n "),
        ),
        (
            ["import os\n\n\ndef new():\n    return os\n"],
            FILE.replace("\ndef tax", "\nimport os\ndef new():\n    return os\n\n\ndef tax"),
        ),
        (
            ["class Shop:\n    def more(self):\n        return 3\n"],
            FILE.replace("+ tax(x)\n", "+ tax(x)\n\n    def more(self):\n        return 3\n"),
        ),
        (["def tax(x:\n"], "def tax(x:\n"),
    ],
)
def test_a_part_is_put_into_the_file(codes: list[str], expected: str) -> None:
    assert whole(FILE, codes) == expected


def test_a_script_is_replaced() -> None:
    assert whole("x = 1\nprint(x)\n", ["print(2)\n"]) == "print(2)\n"
    assert whole("int f() {}", ["a", "int g() {}"]) == "int g() {}\n"


def test_a_diff_is_an_edit() -> None:
    diff = (
        "```diff\n--- a/shop.py\n+++ b/shop.py\n@@ -9,9 +99,2 @@ def x\n def tax(x):\n-    return x * RATE\n"
        "+    return x * RATE / 100\n \n@@ ... @@\n-print(tax(1))\n+print(tax(2))\n```\nIt was wrong."
    )
    for files in ({"shop.py": FILE}, {"shop.py": FILE, "b.py": "y = 1\n"}):
        assert apply_edits(files, parse_edits(diff, files)) == {"shop.py": RIGHT.replace("tax(1)", "tax(2)")}
