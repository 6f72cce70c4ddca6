"""Runs inside the sandbox, alone: the standard library only, and the interpreter's own name for everything.

Standard input is a JSON object: `path` of a Python file, `cases` (pieces of source, each run in its own copy of the
file's names), `seconds` for each, and `key`. The last line of standard output is the key and a JSON list with one entry
a case: `passed`, `error` (one line), `value` (the representation of an expression's value) and `plain` (the value of a
last expression as JSON, see `_plain`). The key is read before the file under test is, so that a program that merely
prints, or leaves early, is never taken for one that passed; what a value should be is not known here wherever it can be
compared elsewhere.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

VALUE_CHARACTERS = 2000


class OutOfTimeError(BaseException):
    """A case took too long; no `except Exception` of the code under test catches it."""


def main() -> None:
    """Run the cases."""
    order = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w")
    sys.stdin = io.StringIO()
    signal.signal(signal.SIGALRM, _ring)
    said = io.StringIO()
    names: dict[str, Any] = {"__name__": "solution", "__file__": order["path"]}
    with contextlib.redirect_stdout(said):
        error = _guarded(lambda: _load(order["path"], names), order["seconds"])
        results = [
            {"passed": False, "error": error, "value": "", "plain": None}
            if error
            else _case(source, names, order["seconds"])
            for source in order["cases"]
        ]
    out.write("\n" + order["key"] + json.dumps(results) + "\n")
    out.flush()
    os._exit(0)  # a thread of the code under test cannot keep this waiting


def _load(path: str, names: dict[str, Any]) -> None:
    sys.path.insert(0, str(Path(path).resolve().parent))
    exec(compile(Path(path).read_text("utf-8"), path, "exec"), names)  # noqa: S102 (this is what the sandbox is for)


def _case(source: str, names: dict[str, Any], seconds: float) -> dict[str, object]:
    value, plain = "", None
    space = dict(names)

    def work() -> None:
        nonlocal value, plain
        tree = ast.parse(source)
        *before, last = tree.body
        exec(compile(ast.Module(before, []), "test", "exec"), space)  # noqa: S102
        if isinstance(last, ast.Expr):
            got = _eval(last.value, space)
            value, plain = repr(got)[:VALUE_CHARACTERS], _plain(got)
        elif isinstance(last, ast.Assert):
            value = _asserted(last, space)
        else:
            exec(compile(ast.Module([last], []), "test", "exec"), space)  # noqa: S102

    error = _guarded(work, seconds)
    return {"passed": not error, "error": error, "value": value, "plain": plain}


def _plain(value: Any, depth: int = 0) -> Any:
    """A value of built-in types, whatever its class says of itself, as JSON for `asked`; of others their truth."""
    kind = type(value)
    if kind.__module__ == "numpy" and not getattr(value, "shape", (1,)):
        value = value.item()
        kind = type(value)
    if value is None or kind is bool:
        return value
    for number in (int, float):
        if issubclass(kind, number):
            return {number.__name__: number.__repr__(value)}
    if issubclass(kind, str):
        return {"str": str.__str__(value)}
    if issubclass(kind, bytes | bytearray):
        return {"bytes": bytes(value).hex()}
    if kind is complex or (kind.__module__, kind.__name__) in (("fractions", "Fraction"), ("decimal", "Decimal")):
        return {kind.__name__: str(value)}
    if depth < 100:
        many: tuple[type[Any], ...] = (list, tuple, set, frozenset)
        for base in many:
            if issubclass(kind, base):
                name = "set" if base is frozenset else base.__name__
                return {name: [_plain(item, depth + 1) for item in base.__iter__(value)]}
        if issubclass(kind, dict):
            return {"dict": [[_plain(key, depth + 1), _plain(item, depth + 1)] for key, item in dict.items(value)]}
    return {"truth": bool(value)}


def _asserted(test: ast.Assert, space: dict[str, Any]) -> str:
    """The representation of what was compared; AssertionError with both sides when they differ."""
    match test.test:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            got, expected = _eval(left, space), _eval(right, space)
            # What equals everything equals nothing.
            holds = got == expected and not got == object()  # noqa: SIM201 (`!=` may be written otherwise)
            shown = f"{ast.unparse(left)} is {got!r:.300}, not {expected!r:.300}"
        case condition:
            got = holds = _eval(condition, space)
            shown = f"not true: {ast.unparse(condition)}"
    if not holds:
        raise AssertionError(shown)
    return repr(got)[:VALUE_CHARACTERS]


def _eval(node: ast.expr, space: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "test", "eval"), space)  # noqa: S307


def _guarded(work: Any, seconds: float) -> str:
    """What went wrong, in one line; nothing when nothing did."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        work()
    except OutOfTimeError:
        return f"stopped after {seconds:g} s"
    except BaseException as error:  # SystemExit too: leaving is not passing
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename not in (__file__, "test")]
        line = f"line {frames[-1].lineno}: " if frames else ""
        if isinstance(error, SyntaxError) and not frames:
            line = f"line {error.lineno}: "
        return f"{line}{type(error).__name__}: {' '.join(str(error).split())[:700]}".removesuffix(": ")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return ""


def _ring(_: int, __: FrameType | None) -> None:
    raise OutOfTimeError


if __name__ == "__main__":
    main()
