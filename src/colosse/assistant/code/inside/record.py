"""Finds inputs for the original: argument types, calls with results to compare, and one large enough to time.

`job.json`: source, name, tests, bench (a statement, may be empty), num_cases, search (for a call to time).
`found.json`: see `main`.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import enum
import inspect
import io
import itertools
import json
import re
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import shapes as sh
from .outcomes import ALL, Bench, Case, TooLongError, arguments, consume, deadline, load, run_case

CALL_S, TRY_S, LOAD_S = 0.3, 0.2, 10.0
FUNCTION_S = 5.0
"""For all cases of one function."""
MAX_TRIES = 80
ENOUGH_S, TOO_MUCH_S, SCALE_S = 0.05, 0.4, 2.0
"""A call is made larger until it takes the first, rather not the second, and never the third."""
MAX_NUMBER, MAX_SIZE = 50_000_000, 2_000_000
UNSAID = {"RecursionError", "MemoryError", "TooLongError", "TooLargeError"}
"""Errors of the machine, not of the code: another way may well succeed."""


class Recorder:
    """One file, its public functions and classes."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.module = load(compile(job["source"], f"{job['name']}.py", "exec"), job["name"])
        self.tree = ast.parse(job["source"])
        self.functions: list[dict[str, Any]] = []
        self.skipped: dict[str, str] = {}
        self.cases: list[Case] = []
        numbers = {n.value for n in ast.walk(self.tree) if isinstance(n, ast.Constant) and type(n.value) is int}
        words = {n.value for n in ast.walk(self.tree) if isinstance(n, ast.Constant) and type(n.value) is str}
        self.constants = (
            [str(n + d) for n in sorted(numbers) if abs(n) <= 1000 for d in (-1, 0, 1)],
            [repr(word) for word in sorted(words) if len(word) <= 20],
        )
        self.bench_s = 0.0
        self.sites = self._call_sites()
        self.seen = self._seen()

    def public(self) -> Iterator[tuple[str, Any]]:
        """What the file defines at its top level without an underscore, in order."""
        for name, item in list(vars(self.module).items()):
            if not name.startswith("_") and callable(item) and getattr(item, "__module__", "") == self.module.__name__:
                yield name, item

    def _call_sites(self) -> dict[str, list[str]]:
        """Name of a function to the arguments of calls of it, as written in the file, its examples and the tests."""
        texts = [self.job["source"], self.job["tests"], self.job["bench"]]
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)) and (said := ast.get_docstring(node)):
                with contextlib.suppress(ValueError):
                    texts += [example.source for example in doctest.DocTestParser().get_examples(said)]
        sites: dict[str, list[str]] = {}
        for text in texts:
            try:
                nodes = list(ast.walk(ast.parse(text)))
            except SyntaxError:
                continue
            for node in nodes:
                if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
                    name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                    given = [*map(ast.unparse, node.args), *(ast.unparse(word) for word in node.keywords)]
                    sites.setdefault(name, []).append(", ".join(given))
        return sites

    def _seen(self) -> dict[str, dict[str, list[sh.Shape]]]:
        """Qualified name of a function to its parameters' shapes in calls that are written or that the bench makes."""
        seen: dict[str, dict[str, list[sh.Shape]]] = {}

        def note(name: str, given: dict[str, Any]) -> None:
            for parameter, value in given.items():
                shape = sh.of_value(value)
                known = seen.setdefault(name, {}).setdefault(parameter, [])
                if shape is not None and shape not in known and len(known) < 4:
                    known.append(shape)

        for name, function in self._callables():
            for text in self.sites.get(name.rpartition(".")[2], [])[:20]:
                with contextlib.suppress(Exception, TooLongError), deadline(TRY_S):
                    args, kwargs = arguments(text, vars(self.module))
                    bound = inspect.signature(function).bind(*([None] if "." in name else []), *args, **kwargs)
                    note(name, {key: value for key, value in bound.arguments.items() if key != "self"})
        if self.job["bench"]:
            codes = {
                inspect.unwrap(f).__code__: n for n, f in self._callables() if hasattr(inspect.unwrap(f), "__code__")
            }
            counts = dict.fromkeys(codes, 0)

            def watch(frame: types.FrameType, event: str, _: object) -> None:
                code = frame.f_code
                if event == "call" and code in codes and counts[code] < 5:
                    counts[code] += 1
                    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
                    note(codes[code], {key: frame.f_locals[key] for key in names if key != "self"})

            with contextlib.suppress(Exception, SystemExit, TooLongError), deadline(LOAD_S):
                bench = Bench(self.job["bench"])
                run = bench.prepare(self.module)
                sys.setprofile(watch)
                run()
            sys.setprofile(None)
            with contextlib.suppress(Exception, SystemExit, TooLongError), deadline(LOAD_S):
                run = bench.prepare(self.module)
                start = time.perf_counter()
                run()
                self.bench_s = time.perf_counter() - start
        return {name: {key: known for key, known in given.items() if known} for name, given in seen.items()}

    def _callables(self) -> Iterator[tuple[str, Any]]:
        for name, item in self.public():
            if isinstance(item, type):
                yield from ((f"{name}.{method}", function) for method, function in _methods(item))
            else:
                yield name, item

    def record(self) -> None:
        """Find cases for everything that is public."""
        for name, item in self.public():
            try:
                if not isinstance(item, type):
                    self._function(name, item)
                elif not issubclass(item, (enum.Enum, BaseException)) and any(_methods(item)):
                    self._class(name, item)
            except Exception as error:  # of what the code does to whoever looks at it
                self.skipped[name] = f"its arguments could not be found out ({type(error).__name__})"

    def _function(self, name: str, function: Any) -> None:
        found = self._shapes(name, function, "")
        if found is None:
            self.skipped[name] = "no arguments were found that it accepts"
            return
        given, why = found
        written = [{"make": "", "calls": [[name, text]]} for text in self.sites.get(name, []) if self._evaluates(text)]
        self._keep(
            name, why, written, lambda small: self._texts(given, small).map(lambda text: _case("", (name, text))), given
        )

    def _class(self, name: str, kind: type) -> None:
        found = self._shapes(name, kind, "")
        if found is None:
            self.skipped[name] = "no arguments were found that its constructor accepts"
            return
        made, why = found
        first = f"{name}({self._example(made)})"
        methods = {}
        for method, function in _methods(kind):
            if method.startswith("_"):
                continue
            found = self._shapes(method, function, first, f"{name}.{method}")
            if found is None:
                self.skipped[f"{name}.{method}"] = "no arguments were found that it accepts"
            else:
                methods[method], why = found[0], found[1] if found[0] else why
        if not methods:
            return

        def cases(small: bool) -> Any:
            from hypothesis import strategies as st

            call = st.one_of(*(st.tuples(st.just(m), self._texts(given, small)) for m, given in methods.items()))
            return st.tuples(self._texts(made, small), st.lists(call, min_size=1, max_size=10)).map(
                lambda drawn: _case(f"{name}({drawn[0]})", *drawn[1])
            )

        self._keep(name, why, [], cases, [given for each in methods.values() for given in each])

    def _shapes(
        self, name: str, function: Any, make: str, qualified: str = ""
    ) -> tuple[list[tuple[sh.Parameter, sh.Shape]], str] | None:
        """The shape of each argument, and how it is known; None when nothing that was tried is accepted."""
        known = self.seen.get(qualified or (f"{name}.__init__" if isinstance(function, type) else name), {})
        wanted = sh.parameters(function, self.module, known)
        if wanted is None:
            return None
        wanted = [parameter for parameter in wanted if parameter.name != "self" or not make]
        unsure = any(len(parameter.shapes) > 1 for parameter in wanted)
        every = itertools.product(*(range(len(parameter.shapes)) for parameter in wanted))
        combinations = sorted(itertools.islice(every, 20_000), key=lambda chosen: (sum(chosen), max(chosen, default=0)))
        best, most = None, 0
        for chosen in combinations[:MAX_TRIES]:
            given = [(parameter, parameter.shapes[at]) for parameter, at in zip(wanted, chosen, strict=True)]
            if not unsure:
                best = given
                break
            worked = sum(self._works(name, make, self._example(given, at)) for at in range(3))
            if worked > most:
                best, most = given, worked
            if worked == 3:
                break
        if best is None:
            return None
        return best, ", ".join(dict.fromkeys(parameter.why for parameter in wanted))

    def _works(self, name: str, make: str, text: str) -> bool:
        outcome = run_case(self.module, _case(make, (name, text)), TRY_S)[-1]
        return "value" in outcome

    def _evaluates(self, text: str) -> bool:
        with contextlib.suppress(Exception, TooLongError), deadline(TRY_S):
            arguments(text, vars(self.module))
            return True
        return False

    def _example(self, given: list[tuple[sh.Parameter, sh.Shape]], at: int = 0) -> str:
        return ", ".join(
            _said_as(parameter, sh.examples(shape, 3)[at]) for parameter, shape in given if parameter.required
        )

    def _texts(self, given: list[tuple[sh.Parameter, sh.Shape]], small: bool) -> Any:
        """Strategy of the text between the brackets of a call."""
        from hypothesis import strategies as st

        parts = []
        for parameter, shape in given:
            values = sh.strategy(shape, self.constants, small=small)
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                parts.append(st.lists(values, max_size=5).map(", ".join))
            else:
                said = values.map(lambda text, parameter=parameter: _said_as(parameter, text))
                parts.append(said if parameter.required else st.one_of(st.just(""), said))
        return st.tuples(*parts).map(lambda texts: ", ".join(filter(None, texts)))

    def _keep(
        self,
        name: str,
        why: str,
        written: list[Case],
        drawn: Callable[[bool], Any],
        given: list[tuple[sh.Parameter, sh.Shape]],
    ) -> None:
        """Run the original on cases that are written or drawn by Hypothesis; keep those that tell something."""
        start, kept, slow = time.monotonic(), 0, 0
        usual = _draw(drawn(False), self.job["num_cases"])
        waiting, seen = [*written, *usual], set()
        while waiting and time.monotonic() - start < FUNCTION_S:
            case = waiting.pop(0)
            key = json.dumps(case)
            if key in seen:
                continue
            seen.add(key)
            outcomes = run_case(self.module, case, CALL_S)
            errors = {outcome.get("error", "") for outcome in outcomes}
            if "TooLongError" in errors:
                slow += 1
                if slow == 3:  # numbers of that size are too much for it
                    waiting = _draw(drawn(True), self.job["num_cases"])
            if errors & UNSAID or (why == "trying" and errors & {"TypeError", "AttributeError"}):
                continue
            self.cases.append(case)
            kept += 1
        shapes = ", ".join(f"{parameter.name}: {sh.said(shape)}" for parameter, shape in given)
        self.functions.append({"name": name, "arguments": shapes, "why": why if given else "", "cases": kept})

    def large(self) -> tuple[str, float]:
        """A call that takes long enough to be timed, of the function that gets slow soonest, and its seconds."""
        found = []
        for name, function in self.public():
            if isinstance(function, type) or name in self.skipped:
                continue
            shapes = self._shapes(name, function, "")
            if shapes is not None:
                found += self._scaled(name, [pair for pair in shapes[0] if pair[0].required])
        if not found:
            return "", 0.0
        seconds, _, text = max(found, key=lambda item: (min(item[0], ENOUGH_S), -item[1]))
        return text, seconds

    def _scaled(self, name: str, given: list[tuple[sh.Parameter, sh.Shape]]) -> list[tuple[float, int, str]]:
        """(seconds, size, call) of the largest calls that were tried, with many and with few different values."""
        grown = any(sh.has_container(shape) for _, shape in given)

        def call(size: int, repeating: bool, numbers: int) -> str:
            parts = []
            for (parameter, shape), step in zip(given, itertools.cycle(sh.STEPS), strict=False):
                count = size if sh.has_container(shape) else numbers
                parts.append(_said_as(parameter, sh.large(shape, count, repeating=repeating, step=step)))
            return ", ".join(parts)

        found = []
        for repeating, fixed in ((False, True), (True, True), (False, False)) if grown else ((False, False),):
            size, factor, last, over = 8 if grown else 4, 2.0 if grown else 1.5, None, None
            while size <= (MAX_SIZE if grown else MAX_NUMBER):
                text = call(size, repeating, 5 if fixed else size)
                seconds = self._seconds(name, text)
                if seconds is None or (seconds > TOO_MUCH_S and last is not None):
                    over = over if seconds is None else (seconds, size, f"{name}({text})")
                    if last is None or factor < 1.2:
                        break
                    size, factor = last[1], 1 + (factor - 1) / 3
                else:
                    last = (seconds, size, f"{name}({text})")
                    if seconds >= ENOUGH_S or not given:
                        break
                size = max(size + 1, int(size * factor))
            if over is not None and last is not None and last[0] < ENOUGH_S:
                last = over
            if last is not None:
                found.append(last)
                if last[0] >= ENOUGH_S and not repeating and not grown:
                    break
        return found

    def _seconds(self, name: str, text: str) -> float | None:
        """How long one call takes; None when it fails or takes too long."""
        try:
            with deadline(SCALE_S):
                args, kwargs = arguments(text, vars(self.module))
                start = time.perf_counter()
                consume(getattr(self.module, name)(*args, **kwargs), ALL)
                return time.perf_counter() - start
        except (Exception, SystemExit, TooLongError):
            return None


def _case(make: str, *calls: tuple[str, str]) -> Case:
    return {"make": make, "calls": [list(call) for call in calls]}


def _said_as(parameter: sh.Parameter, text: str) -> str:
    by_name = not parameter.required or parameter.kind is inspect.Parameter.KEYWORD_ONLY
    return f"{parameter.name}={text}" if by_name and parameter.kind is not inspect.Parameter.VAR_POSITIONAL else text


def _methods(kind: type) -> list[tuple[str, Any]]:
    """Public methods that a class defines itself, and its constructor."""
    return [
        (name, item)
        for name, item in vars(kind).items()
        if inspect.isfunction(item) and (name == "__init__" or not name.startswith("_"))
    ]


def _draw(strategy: Any, count: int) -> list[Case]:
    """Examples of a strategy, the same ones every time."""
    from hypothesis import HealthCheck, Phase, given, settings

    drawn: list[Case] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def take(case: Case) -> None:
        drawn.append(case)

    take()
    return drawn


def main() -> None:
    """Write `found.json`: functions, skipped, cases, bench, bench_s; or error, when the file cannot even be loaded."""
    sys.setrecursionlimit(3000)
    job = json.loads(Path("job.json").read_text())
    found: dict[str, Any] = {"functions": [], "skipped": {}, "cases": [], "bench": "", "bench_s": 0.0, "error": ""}
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            with deadline(LOAD_S):
                recorder = Recorder(job)
        except (Exception, SystemExit, TooLongError) as error:
            said = " ".join(str(error).split())
            found["error"] = f"{type(error).__name__}: {said}".rstrip(": ")
        else:
            if job["num_cases"]:
                recorder.record()
            found |= {"functions": recorder.functions, "skipped": recorder.skipped, "cases": recorder.cases}
            found["bench_s"] = recorder.bench_s
            Path("found.json").write_text(json.dumps(found))  # should the search below be stopped
            if job["search"]:
                found["bench"], found["bench_s"] = recorder.large()
    found["cases"] = [case for case in found["cases"] if not re.search(r"0x[0-9a-f]{9}", json.dumps(case))]
    Path("found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
