"""Code: the raw model in one answer against `colosse code write` and `fix`, judged by tests that neither was shown.

    python -m benchmarks.skills_code --data DATA --model qwen2.5-coder-1.5b-instruct --items 8

`DATA` holds `mbpp_train/` (tasks with three tests each: one is shown in the task, the others judge) and
`bugfix_python_debugbench/` (pairs of a broken and a mended solution). A pair comes without tests: arguments are drawn
by the types in its signature, and the mended solution says what is right. Up to four of the calls are the tests to
make pass, of which one at least fails; the others judge. Left out are pairs whose broken half is not caught or ends
the run, and whose mended half fails its own tests under pytest (where sets print in another order). Floats are right
to 10⁻⁶; floats within lists are not asked for; what is printed is not judged. Arguments may lie outside what the
problem's text, which the data lacks, allows: then the mended half's behaviour is what is asked of both arms alike.
"""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.skills_common import CODE_MEASURES, Answer, Bench, Judge, Run, main, unseen

from colosse.assistant import code
from colosse.assistant.code.judge import run_cases, run_command
from colosse.assistant.skill import generate
from colosse.engines.client import Client
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


def mbpp(data: Path, seed: int) -> Iterator[Item]:
    """Tasks of MBPP in random order, with their first test shown."""
    lines = (data / "mbpp_train" / "mbpp_prompt_valid_train.jsonl").read_text().splitlines()
    for index in unseen(len(lines), seed, first=30):
        row = json.loads(lines[index])
        shown, *judges = row["test_list"]
        setup = row["test_setup_code"].strip()
        judges = [f"{setup}\n{test}".strip() for test in judges]
        yield Item(str(row["task_id"]), f"{row['text'].strip()}\nYour code must pass this test:\n{shown}", {}, judges)


async def debugbench(data: Path, seed: int, count: int) -> AsyncIterator[Item]:
    """`count` pairs in random order, each of another problem, with tests drawn and answered by the mended half."""
    lines = (data / "bugfix_python_debugbench" / "train.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    held = unseen(len(rows), seed, first=30)
    problems = {row["slug"] for row in rows} - {rows[index]["slug"] for index in {*range(len(rows))} - {*held}}
    for index in held:
        if not count:
            return
        row = rows[index]
        if row["slug"] in problems and (item := await pair(row, random.Random(f"{seed} {index}"))):
            problems.remove(row["slug"])
            count -= 1
            yield item


async def pair(row: dict[str, Any], rng: random.Random) -> Item | None:
    """A pair with its tests; None when none can be made that catch the broken half."""
    right, wrong = IMPORTS + row["fixed_code"], IMPORTS + row["buggy_code"].lstrip("\n")
    if len(wrong) > MAX_CHARACTERS or not (signature := signature_of(row["fixed_code"])):
        return None
    name, types = signature
    calls = list(dict.fromkeys(f"Solution().{name}({arguments(types, rng)})" for _ in range(DRAWN)))
    truth = (await run_cases(right, calls)).outcomes
    known = {call: outcome.value for call, outcome in zip(calls, truth, strict=True) if outcome.passed}
    if len(set(known.values())) < 2:
        return None
    asserts = [test for call, value in known.items() if (test := asserted(call, value))]
    said = await run_cases(wrong, asserts)
    if said.output:  # the run as a whole was ended: which call did it is not known
        return None
    caught = [test for test, outcome in zip(asserts, said.outcomes, strict=True) if not outcome.passed]
    if len(caught) < 2 or len(asserts) < SHOWN + 4:
        return None
    kept = [test for test in asserts if test not in caught]
    shown = [*caught[: max(1, SHOWN - 2)], *kept[:2]]
    judges = [*caught[2:], *kept[2:]][:JUDGES]
    if not judges or not (await run_command("pytest -q", files_of(right, [*shown, *judges]))).ok:
        return None
    return Item(row["slug"], row["bug_type"], files_of(wrong, shown), judges)


def files_of(solution: str, tests: list[str]) -> dict[str, str]:
    """A solution with its tests for pytest."""
    bodies = "".join(f"\n\ndef test_{n}():\n    {test}\n" for n, test in enumerate(tests))
    return {"solution.py": solution, "test_solution.py": f"from solution import Solution\n{bodies}"}


def asserted(call: str, value: str) -> str:
    """The test that a call gives a value; empty when it cannot be written down, or has floats within."""
    try:
        found = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return ""
    if isinstance(found, float):
        return f"assert abs({call} - {value}) <= 1e-6 * max(1.0, abs({value}))"
    inner = any(isinstance(n, ast.Constant) and isinstance(n.value, float) for n in ast.walk(ast.parse(value)))
    return "" if inner else f"assert {call} == {value}"


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


async def raw(client: Client, model: str, item: Item) -> Answer:
    """One greedy answer to the same information."""
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
    return Answer(code.extract(done.text)[0], done.usage.completion_tokens)


async def skill(client: Client, model: str, item: Item) -> Answer:
    """What the skill hands back."""
    if item.files:
        result: code.CodeResult = await code.fix(client, item.files, command="pytest -q", model=model)
    else:
        result = await code.write(client, item.task, model=model)
    return Answer(result.answer, result.usage.completion_tokens, result.verified)


def judged(item: Item) -> Judge:
    """Whether an answer passes the hidden tests."""

    async def judge(answer: Answer) -> dict[str, Any]:
        correct = bool(answer.text.strip()) and (await run_cases(answer.text, item.judges)).ok
        return {"correct": correct, "right_when_verified": correct if answer.verified else None}

    return judge


async def both(run: Run, table: str, item: Item) -> None:
    """Both arms of one item."""
    client, model = run.client, run.model
    await run.both(table, item.name, lambda: raw(client, model, item), lambda: skill(client, model, item), judged(item))


async def measure(run: Run) -> None:
    """Tasks to write, then pairs to fix."""
    for item in islice(mbpp(run.data, run.seed), run.items):
        await both(run, "code write", item)
    if run.waits("code fix"):
        async for item in debugbench(run.data, run.seed, run.items):
            await both(run, "code fix", item)


BENCH = Bench("code", {"code write": CODE_MEASURES, "code fix": CODE_MEASURES}, measure)

if __name__ == "__main__":
    main(BENCH, __doc__)
