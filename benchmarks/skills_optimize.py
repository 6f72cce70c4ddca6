"""Speed: the raw model in one answer against `colosse code optimize`, on small slow functions.

    python -m benchmarks.skills_optimize --model qwen2.5-coder-1.5b-instruct --items 10 --output optimize.json

Both arms ask the same model; the raw one takes its first greedy answer as it is. The judge is the same for both and
shown to neither: calls whose results must equal the original's, with two orders of sets, and a bench, on which the
lower end of the 95 % interval of the speed-up must be above 1.05. The skill finds its own inputs. The speed-up of an
arm is the geometric mean over all items; an answer that is wrong, not faster or changes built-in names counts as 1.
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.skills_common import Answer, Bench, Measure, Run, main

from colosse.assistant.code import extract, optimize
from colosse.assistant.code.differential import difference, replay, steady
from colosse.assistant.code.measure import Speedup, measure
from colosse.assistant.code.optimize import OptimizePrompts
from colosse.assistant.code.versions import FASTER
from colosse.assistant.skill import Work
from colosse.core.errors import ColosseError
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage

FUNCTIONS = Path(__file__).with_name("slow_functions.toml")


class Item(NamedTuple):
    """A slow function: the judge's bench and calls (its arguments), and its source."""

    name: str
    bench: str
    calls: list[str]
    code: str


def items(path: Path) -> list[Item]:
    """The items of a file."""
    tables = tomllib.loads(path.read_text())["item"]
    return [Item(name=table["code"].partition("(")[0].removeprefix("def "), **table) for table in tables]


async def judge(item: Item, answer: Answer) -> dict[str, Any]:
    """Whether an answer is equal and faster."""
    equal = await differs(item, answer.text) == ""
    speedup = await faster(item, answer.text) if equal else None
    correct = speedup is not None
    return {
        "correct": correct,
        "speedup": speedup or 1.0,
        "equal": equal,
        "equal_when_verified": equal if answer.verified else None,
        "right_when_verified": correct if answer.verified else None,
    }


async def differs(item: Item, code: str) -> str:
    """The first call with another result than the original's; empty when there is none."""
    cases = [{"make": "", "calls": [[item.name, text]]} for text in item.calls]
    benches = [f"{item.name}({item.bench})"]
    wanted, again = [await replay(item.code, "solution", cases, benches, seed) for seed in ("0", "1")]
    kept, changing = steady(cases, wanted, again)
    assert not changing and len(kept) == len(cases) + 1, (item.name, changing)
    for seed in ("0", "1"):
        got = await replay(code, "solution", cases, benches, seed)
        if found := difference(cases, benches, wanted, got, kept):
            return str(found)
    return ""


async def faster(item: Item, code: str) -> float | None:
    """The speed-up of a version that does the same, or None."""
    if ast.dump(ast.parse(code)) == ast.dump(ast.parse(item.code)):
        return None
    try:
        (found,), replaced = await measure(item.code, code, "solution", [f"{item.name}({item.bench})"], budget_s=6)
    except ColosseError:  # the version ended the process that times it
        return None
    return found.speedup if isinstance(found, Speedup) and found.low > FASTER and not replaced else None


async def raw(client: Client, item: Item, model: str) -> Answer:
    """The first answer, as it is."""
    work = await Work.start(client, model, OptimizePrompts, "code_optimize")
    request = work.texts.optimize.format(
        language="Python", fence="python", code=item.code, approach=work.texts.approaches["algorithm"]
    )
    messages = [ChatMessage(role="system", content=work.texts.system), ChatMessage(role="user", content=request)]
    text = (await work.ask(messages, 800)).text
    return Answer(extract(text)[0], work.usage.completion_tokens)


async def skill(client: Client, item: Item, model: str) -> Answer:
    """What `optimize` hands back."""
    result = await optimize(client, item.code, model=model)
    return Answer(result.answer, result.usage.completion_tokens, result.verified)


async def run_items(run: Run) -> None:
    """Both arms of the first functions."""
    client = run.client
    for item in items(FUNCTIONS)[: run.items]:
        await run.both(
            "code optimize",
            item.name,
            lambda item=item: raw(client, item, run.model),
            lambda item=item: skill(client, item, run.model),
            lambda answer, item=item: judge(item, answer),
        )


BENCH = Bench(
    "optimize",
    {
        "code optimize": (
            Measure("correct", "equal and faster by a hidden judge"),
            Measure("equal", "equal"),
            Measure("speedup", "speed-up, 1 when wrong or not faster", "geometric"),
            Measure("verified", "said verified"),
            Measure("equal_when_verified", "of these, equal"),
            Measure("right_when_verified", "of these, equal and faster"),
        )
    },
    run_items,
)

if __name__ == "__main__":
    main(BENCH, __doc__)
