"""Code: the raw model in one answer against `colosse code write` and `fix`, judged by tests that neither was shown.

    python -m benchmarks.skills_code --data DATA --model qwen2.5-coder-1.5b-instruct --items 8

`DATA` holds `mbpp_train/` (tasks with three tests each: one is shown in the task, the others judge) and
`bugfix_python_debugbench/` (pairs of a broken and a mended solution). A pair comes without tests: arguments are drawn
by the types in its signature, and the mended solution says what is right. Pairs whose broken half is not caught are
left out. Up to four of the calls are the tests to make pass, of which one at least fails; the others judge.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from colosse.assistant import code
from colosse.assistant.code.judge import run_cases, run_command
from colosse.assistant.skill import generate
from colosse.core.settings import load_settings
from colosse.engines.client import Client
from colosse.engines.engines import Engines
from colosse.engines.schema import ChatMessage

IMPORTS = "import bisect, collections, functools, heapq, itertools, math, re, string\nfrom collections import *\n"
IMPORTS += "".join(f"from {name} import *\n" for name in ("functools", "heapq", "itertools", "math", "typing")) + "\n"
SHOWN, JUDGES, DRAWN = 4, 12, 40
MAX_CHARACTERS = 2500


@dataclass
class Item:
    """One task: what is asked, what is shown, what judges."""

    name: str
    task: str
    files: dict[str, str]
    judges: list[str]


@dataclass
class Row:
    """What became of an item in one arm."""

    name: str
    arm: str
    correct: bool
    verified: bool
    seconds: float
    completion_tokens: int


def mbpp(data: Path, rng: random.Random) -> Iterable[Item]:
    """Tasks of MBPP in random order, with their first test shown."""
    lines = (data / "mbpp_train" / "mbpp_prompt_valid_train.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rng.sample(rows, len(rows)):
        shown, *judges = row["test_list"]
        setup = row["test_setup_code"].strip()
        judges = [f"{setup}\n{test}".strip() for test in judges]
        yield Item(str(row["task_id"]), f"{row['text'].strip()}\nYour code must pass this test:\n{shown}", {}, judges)


async def debugbench(data: Path, rng: random.Random) -> Any:
    """Pairs in random order, with tests drawn and answered by the mended half."""
    lines = (data / "bugfix_python_debugbench" / "train.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rng.sample(rows, len(rows)):
        right, wrong = IMPORTS + row["fixed_code"], IMPORTS + row["buggy_code"].lstrip("\n")
        if len(wrong) > MAX_CHARACTERS or not (signature := signature_of(row["fixed_code"])):
            continue
        name, types = signature
        calls = list(dict.fromkeys(f"Solution().{name}({arguments(types, rng)})" for _ in range(DRAWN)))
        truth = (await run_cases(right, calls)).outcomes
        again = (await run_cases(right, calls)).outcomes
        pairs = [
            (call, o.value)
            for call, o, second in zip(calls, truth, again, strict=True)
            if o.passed and literal(o.value) and o.value == second.value
        ]
        if len(pairs) < SHOWN + 4 or len({value for _, value in pairs}) < 2:
            continue
        asserts = [f"assert {call} == {value}" for call, value in pairs]
        outcomes = (await run_cases(wrong, asserts)).outcomes
        caught = [a for a, o in zip(asserts, outcomes, strict=True) if not o.passed]
        if len(caught) < 2:
            continue
        kept = [a for a in asserts if a not in caught]
        shown = [*caught[: max(1, SHOWN - 2)], *kept[:2]]
        judges = [*caught[2:], *kept[2:]][:JUDGES]
        tests = "from solution import Solution\n"
        tests += "".join(f"\n\ndef test_{n}():\n    {test}\n" for n, test in enumerate(shown))
        yield Item(row["slug"], row["bug_type"], {"solution.py": wrong, "test_solution.py": tests}, judges)


def signature_of(source: str) -> tuple[str, list[str]] | None:
    """(method, types of its arguments) of a solution's one public method; None when an argument cannot be drawn."""
    try:
        (solution,) = [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Solution"]
    except (SyntaxError, ValueError):
        return None
    methods = [n for n in solution.body if isinstance(n, ast.FunctionDef) and n.args.args]
    annotated = [m for m in methods if len(m.args.args) > 1 and all(a.annotation for a in m.args.args[1:])]
    if len(annotated) != 1:
        return None
    types = [ast.unparse(a.annotation).replace("list", "List") for a in annotated[0].args.args[1:] if a.annotation]
    drawn = {"int", "str", "bool", "float", "List[int]", "List[str]", "List[List[int]]"}
    return (annotated[0].name, types) if set(types) <= drawn else None


def arguments(types: list[str], rng: random.Random) -> str:
    """Random small arguments of these types."""

    def draw(kind: str) -> object:
        if inner := re.fullmatch(r"List\[(.*)\]", kind):
            return [draw(inner[1]) for _ in range(rng.randint(1, 5))]
        word = "".join(rng.choices("abc", k=rng.randint(1, 5)))
        return {"int": rng.randint(1, 9), "str": word, "bool": rng.random() < 0.5, "float": rng.randint(1, 20) / 2}[
            kind
        ]

    return ", ".join(repr(draw(kind)) for kind in types)


def literal(text: str) -> bool:
    """Whether a representation can be written down in a test."""
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return True


async def raw(client: Client, model: str, item: Item) -> tuple[str, int]:
    """One greedy answer to the same information: (code, tokens)."""
    if item.files:
        source, tests = item.files["solution.py"], item.files["test_solution.py"]
        said = (await run_command("pytest -q", item.files)).problem
        asked = (
            f"Fix this Python file so that its tests pass. Reply with the complete file in one code block.\n\n"
            f"```python\n{source}```\n\nThe tests:\n```python\n{tests}```\n\nThey say:\n```\n{said}\n```"
        )
    else:
        asked = f"Write Python code for this task. Reply with one complete code block.\n\n{item.task}"
    messages = [ChatMessage(role="user", content=asked)]
    done = await generate(client, messages, model=model, temperature=0.0, max_tokens=1200)
    return code.extract(done.text)[0], done.usage.completion_tokens


async def skill(client: Client, model: str, item: Item) -> tuple[code.CodeResult, str]:
    """(what the skill hands back, its code)."""
    if item.files:
        result = await code.fix(client, item.files, command="pytest -q", model=model)
        return result, result.answer
    written = await code.write(client, item.task, model=model)
    return written, written.answer


async def measure(client: Client, model: str, item: Item) -> list[Row]:
    """Both arms of one item."""
    rows = []
    start = time.perf_counter()
    answer, tokens = await raw(client, model, item)
    seconds = time.perf_counter() - start
    correct = (await run_cases(answer, item.judges)).ok
    rows.append(Row(item.name, "raw", correct, False, round(seconds, 1), tokens))
    result, answer = await skill(client, model, item)
    correct = (await run_cases(answer, item.judges)).ok
    used = result.usage.completion_tokens
    rows.append(Row(item.name, "skill", correct, result.verified, round(result.seconds, 1), used))
    return rows


async def first(items: Any, count: int) -> list[Item]:
    """The first `count` items of a generator, asynchronous or not."""
    if not hasattr(items, "__anext__"):
        return [item for item, _ in zip(items, range(count), strict=False)]
    found: list[Item] = []
    async for item in items:
        found.append(item)
        if len(found) == count:
            break
    return found


def shown(skill: str, rows: list[Row]) -> str:
    """The table of one skill."""
    lines = [
        f"{skill:8} {'arm':8} {'correct':>8} {'verified':>9} {'verified and correct':>21} {'s/item':>7} {'tokens':>7}"
    ]
    for arm in ("raw", "skill"):
        of = [row for row in rows if row.arm == arm]
        both = sum(row.correct and row.verified for row in of)
        mean = sum(row.seconds for row in of) / len(of)
        tokens = sum(row.completion_tokens for row in of) // len(of)
        right, sure = sum(row.correct for row in of), sum(row.verified for row in of)
        lines.append(f"{'':8} {arm:8} {right:>3} / {len(of):<3} {sure:>8} {both:>21} {mean:>7.1f} {tokens:>7}")
    return "\n".join(lines)


async def run(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Every skill that was asked for."""
    makers: dict[str, Callable[[], Any]] = {
        "write": lambda: mbpp(options.data, random.Random(options.seed)),
        "fix": lambda: debugbench(options.data, random.Random(options.seed)),
    }
    results: dict[str, list[Row]] = {}
    async with Engines(load_settings().value) as client:
        for name in options.skills:
            rows: list[Row] = []
            for item in await first(makers[name](), options.items):
                both = await measure(client, options.model, item)
                print(
                    f"{name} {item.name}: " + ", ".join(f"{r.arm} {r.correct} ({r.seconds} s)" for r in both),
                    flush=True,
                )
                rows += both
            results[name] = rows
    return results


def main() -> None:
    """Measure, print the tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--items", type=int, default=8, help="of each skill")
    parser.add_argument("--skills", nargs="+", choices=("write", "fix"), default=["write", "fix"])
    parser.add_argument("--seed", type=int, default=0, help="which items are drawn")
    parser.add_argument("--output", type=Path, help="JSON with every row")
    options = parser.parse_args()
    results = asyncio.run(run(options))
    for name, rows in results.items():
        print(shown(name, rows))
    if options.output:
        rows_by_skill = {name: [asdict(row) for row in rows] for name, rows in results.items()}
        options.output.write_text(json.dumps({"model": options.model, "seed": options.seed, **rows_by_skill}, indent=2))


if __name__ == "__main__":
    main()
