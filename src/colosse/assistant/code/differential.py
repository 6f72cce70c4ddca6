"""Whether two versions of a Python file do the same: inputs for the original, and what each version makes of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from colosse.assistant import sandbox
from colosse.assistant.code.measure import run_inside, started

NUM_CASES = 60
"""Calls drawn for each function or class."""
CALL_S = 2.0
"""A call of another version may take so long; the original took less than half a second for each."""
LIMITS = sandbox.Limits(cpu_s=90, wall_s=90, memory_mb=2048, processes=64, file_mb=256)
RELATIVE, ABSOLUTE = 1e-9, 1e-9
"""Two floats this near are equal: another order of summation rounds differently."""

Case = dict[str, Any]
Outcomes = list[dict[str, Any]]


class Tested(BaseModel):
    """A function or class whose calls are compared.

    Attributes:
        name: of the function or class.
        arguments: their types in words.
        why: how those are known: annotations, calls that were seen, defaults, or trying.
        cases: how many.
    """

    name: str
    arguments: str
    why: str
    cases: int


class Recorded(BaseModel):
    """Inputs that were found for a file.

    Attributes:
        functions: what is compared.
        skipped: what is not, with the reason.
        cases: the calls.
        bench: a call that is large enough to be timed; empty when none was found or one was given.
        bench_s: how long it takes.
        error: why the file could not even be loaded.
    """

    functions: list[Tested] = []
    skipped: dict[str, str] = {}
    cases: list[Case] = []
    bench: str = ""
    bench_s: float = 0.0
    error: str = ""


class Replayed(BaseModel):
    """What a version made of the cases.

    Attributes:
        outcomes: of each case and then of each bench; fewer when it did not get that far.
        tampered: built-in names that the version put others in the place of.
        broken: why it could not be loaded, or ended before its time.
    """

    outcomes: list[Outcomes] = []
    tampered: list[str] = []
    broken: str = ""


class Difference(BaseModel):
    """One call that gives something else.

    Attributes:
        call: as a person would write it.
        wanted: what the original does.
        got: what the other version does.
    """

    call: str
    wanted: str
    got: str

    def __str__(self) -> str:
        return f"{self.call} gives {self.got}, not {self.wanted}"


async def record(
    source: str, name: str, tests: str = "", bench: str = "", *, search: bool = False, num_cases: int = NUM_CASES
) -> Recorded:
    """Find inputs for a Python file by running it in a sandbox.

    Args:
        source: the file.
        name: of the module.
        tests: its tests, whose calls show what arguments are.
        bench: a statement to time, which shows them too.
        search: look for a call that takes long enough to be timed.
        num_cases: drawn for each function.
    """
    job = {"source": source, "name": name, "tests": tests, "bench": bench, "search": search, "num_cases": num_cases}
    return Recorded.model_validate(await started("record", job, limits=LIMITS))


async def replay(
    source: str, name: str, cases: Sequence[Case], benches: Sequence[str], seed: str = "0", call_s: float = CALL_S
) -> Replayed:
    """What a version does with the cases and statements, each call with fresh arguments.

    Args:
        source: the version.
        name: of the module.
        cases: from `record`.
        benches: statements.
        seed: of the hashes of texts, which order sets.
        call_s: seconds for each call.
    """
    job = {"source": source, "name": name, "cases": list(cases), "benches": list(benches), "call_s": call_s}
    ran = await run_inside("replay", job, limits=LIMITS, seed=seed)
    replayed = Replayed()
    ended = False
    for line in ran.files.get("found.jsonl", b"").splitlines():
        try:
            found = json.loads(line)
        except ValueError:  # the process ended in the middle of it
            break
        if isinstance(found, list):
            replayed.outcomes.append(found)
        else:
            ended = True
            replayed.broken, replayed.tampered = found.get("broken", ""), found.get("end", [])
    if not ended:
        replayed.broken = (
            f"stopped ({ran.stopped})" if ran.stopped else f"the process ended with exit code {ran.exit_code}"
        )
    return replayed


def same(wanted: Any, got: Any) -> bool:
    """Whether two outcomes or parts of them are equal; floats within a tolerance, NaN like NaN."""
    if isinstance(wanted, list) and isinstance(got, list):
        if wanted[:1] == ["float"] == got[:1] and len(wanted) == len(got) == 3:
            a, b = wanted[2], got[2]
            if not (isinstance(a, float) and isinstance(b, float)):  # items of a list whose first is the word
                return wanted == got
            near = math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE) or (math.isnan(a) and math.isnan(b))
            return wanted[1] == got[1] and near
        return len(wanted) == len(got) and all(map(same, wanted, got))
    if isinstance(wanted, dict) and isinstance(got, dict):
        return wanted.keys() == got.keys() and all(same(wanted[key], got[key]) for key in wanted)
    return type(wanted) is type(got) and bool(wanted == got)


def steady(cases: Sequence[Case], first: Replayed, second: Replayed) -> tuple[list[int], list[str]]:
    """(indexes of what the original does twice alike, calls that it does not) from two runs of it.

    Cases without a result to compare (a function as a result, one too large) are in neither.
    """
    kept, changing = [], []
    for index, (one, other) in enumerate(zip(first.outcomes, second.outcomes, strict=False)):
        if not same(one, other):
            changing.append(spoken(cases[index]) if index < len(cases) else "the bench")
        elif all(_comparable(outcome) for outcome in one):
            kept.append(index)
    return kept, changing


def _comparable(outcome: dict[str, Any]) -> bool:
    if outcome.get("error") in {"TooLongError", "TooLargeError", "MemoryError", "RecursionError"}:
        return False
    value = outcome.get("value")
    return not (isinstance(value, list) and value[:1] == ["opaque"])


def difference(
    cases: Sequence[Case], benches: Sequence[str], wanted: Replayed, got: Replayed, kept: Sequence[int]
) -> Difference | None:
    """The shortest call that gives something else, or None.

    Args:
        cases: the calls.
        benches: statements that were run after them.
        wanted: what the original made of them.
        got: what the other version made of them.
        kept: indexes of the calls to compare.
    """
    found = []
    for index in kept:
        before = wanted.outcomes[index]
        after = got.outcomes[index] if index < len(got.outcomes) else None
        if after is not None and same(before, after):
            continue
        at = (
            0
            if after is None
            else next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if not same(a, b)), 0)
        )
        other = after[min(at, len(after) - 1)] if after else None
        call = spoken(cases[index], at) if index < len(cases) else benches[index - len(cases)]
        late = got.broken or "no result: an earlier call did not come back"
        said = shown(other, before[at]) if other else late
        found.append(Difference(call=call, wanted=shown(before[at], other), got=said))
        if after is None:
            break
    return min(found, key=lambda item: len(item.call), default=None)


def spoken(case: Case, last: int | None = None) -> str:
    """A case as code, up to its call number `last`."""
    calls = case["calls"] if last is None else case["calls"][: last + 1]
    if not case["make"]:
        return "; ".join(f"{name}({text})" for name, text in calls)
    return "; ".join([f"x = {case['make']}", *(f"x.{name}({text})" for name, text in calls)])


def shown(outcome: dict[str, Any], other: dict[str, Any] | None = None, width: int = 200) -> str:
    """An outcome in words: its value, what it printed, what it made of its arguments, where `other` differs there."""
    if error := outcome.get("error"):
        return "no end" if error == "TooLongError" else f"the exception {error}"
    said = written(outcome.get("value"))
    if other is not None and same(outcome.get("value"), other.get("value")):
        if not same(outcome.get("args"), other.get("args")):
            said += f" with its arguments left as {written(outcome.get('args'))}"
        elif outcome.get("out") != other.get("out"):
            said += f" and prints {outcome.get('out')!r}"
    return said if len(said) <= width else said[:width] + "..."


def written(value: Any) -> str:
    """A value that was made plain, as Python writes it where it can be."""
    match value:
        case ["float", _, number]:
            return repr(number)
        case ["int", "int", number]:
            return str(int(number, 16)) if len(number) < 1000 else str(number)
        case ["sequence", "tuple", items]:
            return f"({''.join(written(item) + ', ' for item in items).rstrip(' ')})"
        case ["sequence", kind, items]:
            said = f"[{', '.join(map(written, items))}]"
            return said if kind == "list" else f"{kind}({said})"
        case ["set", kind, items]:
            said = f"{{{', '.join(map(written, items))}}}" if items else f"{kind}()"
            return said if kind == "set" or not items else f"{kind}({said})"
        case ["map", kind, pairs]:
            said = f"{{{', '.join(f'{written(key)}: {written(item)}' for key, item in pairs)}}}"
            return said if kind == "dict" else f"{kind}({said})"
        case ["iterator", items, error]:
            return f"an iterator of [{', '.join(map(written, items))}]" + (f" that ends with {error}" if error else "")
        case ["object", kind, fields]:
            return f"{kind}({', '.join(f'{name}={written(item)}' for name, item in fields)})"
        case ["str" | "bytes" | "int" | "enum" | "repr", kind, text]:
            return f"{kind} {text}"
        case [str(head), *rest] if head in {"range", "type", "opaque", "again", "array", "complex"}:
            return f"{head} {' '.join(map(str, rest))}"
    return repr(value)
