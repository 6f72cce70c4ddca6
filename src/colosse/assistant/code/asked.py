"""Cases of tests taken apart, so that the code under test runs without knowing what its results should be.

What it returns is compared outside the sandbox: code that looks for its tests, or whose values equal everything, gains
nothing by it.
"""

from __future__ import annotations

import ast
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, NamedTuple

_KINDS = {"int": int, "float": float, "complex": complex, "Fraction": Fraction, "Decimal": Decimal, "str": str}
_KINDS |= {"list": list, "tuple": tuple, "set": set}


class Asked(NamedTuple):
    """A case as the code under test sees it, and what its last expression must be.

    Attributes:
        source: the case; of an assert that something is a literal, or true, only that something.
        rule: how the value is held to `expected`; empty: the case judges itself where it runs.
        spoken: the expression, for people.
        expected: the literal.
    """

    source: str
    rule: Literal["", "equal", "is", "true", "false"] = ""
    spoken: str = ""
    expected: Any = None

    def wrong(self, shown: str, plain: Any) -> str:
        """What is wrong with a value; nothing when it is right.

        Args:
            shown: its representation.
            plain: the value as the harness wrote it down.
        """
        try:
            got = _value(plain)
            match self.rule:
                case "equal":
                    held = bool(got == self.expected)
                case "is":
                    held = got is self.expected
                case _:
                    held = bool(got) == (self.rule == "true")
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
            held = False
        if held:
            return ""
        if self.rule in ("equal", "is"):
            return f"AssertionError: {self.spoken} is {shown:.300}, not {self.expected!r:.300}"
        return f"AssertionError: not true: {'not ' if self.rule == 'false' else ''}{self.spoken}"


def asked(case: str) -> Asked:
    """Take a case apart."""
    try:
        *before, last = ast.parse(case).body
    except (SyntaxError, ValueError):
        return Asked(case)
    rule: Literal["equal", "is", "true", "false"] = "true"
    expected: Any = None
    match last:
        case ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq() | ast.Is() as op], comparators=[right])):
            try:
                expected = ast.literal_eval(right)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                return Asked(case)
            rule = "is" if isinstance(op, ast.Is) else "equal"
            if rule == "is" and not (expected is None or isinstance(expected, bool)):
                return Asked(case)
        case ast.Assert(test=ast.Compare() | ast.BoolOp()):
            return Asked(case)
        case ast.Assert(test=ast.UnaryOp(op=ast.Not(), operand=left)):
            rule = "false"
        case ast.Assert(test=left):
            pass
        case _:
            return Asked(case)
    return Asked(ast.unparse(ast.Module([*before, ast.Expr(left)], [])), rule, ast.unparse(left), expected)


class _Opaque:
    """A value of none of the built-in types: equal to no literal, true or not."""

    def __init__(self, truth: bool) -> None:
        self.truth = truth

    def __bool__(self) -> bool:
        return self.truth


def _value(plain: Any) -> Any:
    """The value that the harness wrote down, of built-in types alone."""
    if plain is None or isinstance(plain, bool):
        return plain
    ((kind, said),) = plain.items()
    match kind:
        case "truth":
            return _Opaque(bool(said))
        case "bytes":
            return bytes.fromhex(said)
        case "dict":
            return {_value(key): _value(item) for key, item in said}
        case "list" | "tuple" | "set":
            return _KINDS[kind](_value(item) for item in said)
    return _KINDS[kind](said)
