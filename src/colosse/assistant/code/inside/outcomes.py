"""What one call does, as plain data that is compared elsewhere: value, changed arguments, printed text, exception."""

from __future__ import annotations

import array
import ast
import asyncio
import builtins
import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import inspect
import io
import json
import math
import pathlib
import signal
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

MAX_NODES = 1_000_000
"""A result with more parts than this is not compared."""
MAX_ITEMS = 1000
"""So many items of an iterator are looked at; it may have no end."""
MAX_PRINTED = 100_000
ALL = 20_000_000
"""So many items of an iterator are taken where it is the clock that counts."""

HELPERS: dict[str, Any] = {
    "nan": math.nan,
    "inf": math.inf,
    "datetime": datetime,
    "Decimal": decimal.Decimal,
    "Fraction": fractions.Fraction,
    "deque": collections.deque,
    "Counter": collections.Counter,
    "defaultdict": collections.defaultdict,
    "OrderedDict": collections.OrderedDict,
    "array": array.array,
    "Path": pathlib.PurePosixPath,
}
"""What expressions of arguments may name beside the module's own names."""

Case = dict[str, Any]
"""`make`: expression of the object whose methods are called, or empty for functions; `calls`: names and arguments."""


class TooLongError(BaseException):
    """A call had not come back when its time was up; no `except Exception` swallows it."""


class TooLargeError(Exception):
    """A result with too many parts to compare."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `TooLongError` in the block after so many seconds."""

    def expired(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, expired)
    # Again and again, should a bare `except` swallow the first.
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def load(program: types.CodeType, name: str) -> types.ModuleType:
    """The code as a new module `name`, which imports of it find."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(program, module.__dict__)  # noqa: S102 - this is what the sandbox is for
    return module


def arguments(text: str, names: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of the call whose brackets hold `text`, made anew."""
    found: tuple[tuple[Any, ...], dict[str, Any]] = eval(  # noqa: S307 - this is what the sandbox is for
        f"_collect({text})", {**HELPERS, **names, "_collect": _collect}
    )
    return found


def _collect(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def run_case(module: types.ModuleType, case: Case, seconds: float) -> list[dict[str, Any]]:
    """The outcome of each call of a case, with a deadline for each; what cannot be made ends it."""
    target: Any = module
    if case["make"]:
        try:
            with deadline(seconds), contextlib.redirect_stdout(io.StringIO()):
                target = eval(case["make"], {**HELPERS, **vars(module)})  # noqa: S307
        except (Exception, SystemExit, TooLongError) as error:
            return [{"error": _error_name(error)}]
    names = vars(module)
    return [run_call(partial(arguments, text, names), target, name, seconds) for name, text in case["calls"]]


def run_call(make: Callable[[], tuple[Any, Any]], target: Any, name: str, seconds: float) -> dict[str, Any]:
    """The outcome of calling `target.name` with the arguments that `make` makes."""
    printed = io.StringIO()
    try:
        with deadline(seconds), contextlib.redirect_stdout(printed):
            args, kwargs = make()
            value = consume(getattr(target, name)(*args, **kwargs))
            return {
                "value": plain(value),
                "args": plain([*args, *kwargs.values()]),
                "out": printed.getvalue()[:MAX_PRINTED],
            }
    except (Exception, SystemExit, TooLongError) as error:
        return {"error": _error_name(error), "out": printed.getvalue()[:MAX_PRINTED]}


def consume(value: Any, limit: int = MAX_ITEMS) -> Any:
    """A lazy result made whole: the first `limit` items of an iterator, what a coroutine returns."""
    if inspect.iscoroutine(value):
        return asyncio.run(value)
    if isinstance(value, collections.abc.Iterator) and not isinstance(value, io.IOBase):
        return Consumed(value, limit)
    return value


class Consumed:
    """The first items of an iterator, and the exception that it ended with, if any."""

    def __init__(self, items: Any, limit: int) -> None:
        self.items: list[Any] = []
        self.error = ""
        try:
            for item in items:
                self.items.append(item)
                if len(self.items) >= limit:
                    break
        except Exception as error:
            self.error = _error_name(error)


def plain(value: Any) -> Any:
    """`value` as JSON that tells apart what Python tells apart: types by name, sets and dicts without order.

    Raises:
        TooLargeError: it has too many parts.
    """
    room = [MAX_NODES]
    return _plain(value, (), room)


def _plain(value: Any, above: tuple[int, ...], room: list[int]) -> Any:
    room[0] -= 1
    if room[0] < 0:
        raise TooLargeError
    kind = type(value).__name__
    if getattr(builtins, kind, type(value)) is not type(value):  # a `list` of the file's own may do its work later
        kind = f"own {kind}"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return ["enum", kind, value.name]
    if isinstance(value, int):
        number = int(value)
        return number if kind == "int" and abs(number) < 2**63 else ["int", kind, hex(number)]
    if isinstance(value, float):
        return ["float", kind, float(value)]
    if isinstance(value, complex):
        return ["complex", ["float", "float", value.real], ["float", "float", value.imag]]
    if isinstance(value, str):
        return str(value) if kind == "str" else ["str", kind, str(value)]
    if isinstance(value, (bytes, bytearray)):
        return ["bytes", kind, value.hex()]
    if id(value) in above:
        return ["again", len(above) - above.index(id(value))]
    inner = (*above, id(value))
    if isinstance(value, Consumed):
        return ["iterator", [_plain(item, inner, room) for item in value.items], value.error]
    if isinstance(value, range):
        return ["range", value.start, value.stop, value.step]
    if isinstance(value, (list, tuple, collections.deque, array.array)):
        return ["sequence", kind, [_plain(item, inner, room) for item in value]]
    if isinstance(value, (set, frozenset, collections.abc.KeysView)):
        return ["set", kind, sorted((_plain(item, inner, room) for item in value), key=json.dumps)]
    if isinstance(value, collections.abc.Mapping):
        pairs = [[_plain(key, inner, room), _plain(item, inner, room)] for key, item in value.items()]
        return ["map", kind, sorted(pairs, key=lambda pair: json.dumps(pair[0]))]
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return ["array", kind, str(value.dtype), list(getattr(value, "shape", ())), _plain(value.tolist(), inner, room)]
    if isinstance(value, type):
        return ["type", value.__name__]
    if (callable(value) and not hasattr(value, "__dict__")) or isinstance(value, types.FunctionType | types.MethodType):
        return ["opaque", kind]
    state = _public(value)
    if not state and "__repr__" in {name for kind in type(value).__mro__[:-1] for name in vars(kind)}:
        return ["repr", kind, repr(value)]
    return ["object", kind, [[name, _plain(item, inner, room)] for name, item in sorted(state.items())]]


def _public(value: Any) -> dict[str, Any]:
    """Attributes without an underscore; how a class keeps its own things is its own affair."""
    names = [*getattr(value, "__dict__", {})]
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return {name: getattr(value, name) for name in names if not name.startswith("_") and hasattr(value, name)}


def _error_name(error: BaseException) -> str:
    return type(error).__name__


class Bench:
    """A statement to time: what comes before its last one is preparation, and so are the arguments of a last call.

    Args:
        source: `f(list(range(1000)))`, or several lines.
    """

    def __init__(self, source: str) -> None:
        *before, last = ast.parse(source).body
        self._before = compile(ast.Module(before, []), "<bench>", "exec")
        value = last.value if isinstance(last, (ast.Expr, ast.Assign)) else None
        self._call: tuple[types.CodeType, ...] | None = None
        self._value: types.CodeType | None = None
        if isinstance(value, ast.Call):
            collect = ast.Call(ast.Name("_collect", ast.Load()), value.args, value.keywords)
            self._call = tuple(
                compile(ast.fix_missing_locations(ast.Expression(node)), "<bench>", "eval")
                for node in (value.func, collect)
            )
        elif value is not None:
            self._value = compile(ast.Expression(value), "<bench>", "eval")
        else:
            self._last = compile(ast.Module([last], []), "<bench>", "exec")

    def prepare(self, module: types.ModuleType) -> Callable[[], Any]:
        """Do what comes before; the function returned is what is timed."""
        names: dict[str, Any] = {**HELPERS, **vars(module)}
        exec(self._before, names)  # noqa: S102
        if self._call is not None:
            function = eval(self._call[0], names)  # noqa: S307
            names["_collect"] = _collect
            args, kwargs = eval(self._call[1], names)  # noqa: S307
            return lambda: consume(function(*args, **kwargs), ALL)
        if (value := self._value) is not None:
            return lambda: consume(eval(value, names), ALL)  # noqa: S307
        known = set(names)

        def run() -> dict[str, Any]:
            exec(self._last, names)  # noqa: S102
            return {name: names[name] for name in names.keys() - known if not callable(names[name])}

        return run

    def outcome(self, module: types.ModuleType, seconds: float) -> dict[str, Any]:
        """What it gives, as for a call."""
        timed = types.SimpleNamespace()

        def make() -> tuple[Any, Any]:
            timed.run = self.prepare(module)
            return (), {}

        return run_call(make, types.SimpleNamespace(run=lambda: timed.run()), "run", seconds)


def fingerprint() -> dict[str, int]:
    """Which objects the clocks and the built-in names are, to see whether somebody puts others in their place."""
    import time

    watched = {"time": time, "builtins": builtins}
    return {
        f"{module}.{name}": id(item)
        for module, owner in watched.items()
        for name, item in vars(owner).items()
        if callable(item)
    }


def tampered(before: dict[str, int]) -> list[str]:
    """The names whose object is another one now."""
    now = fingerprint()
    return sorted(name for name in before if now.get(name) != before[name])
