"""Speed: the raw model in one answer against `colosse code optimize`, on small slow functions.

    python -m benchmarks.skills_optimize --model qwen2.5-coder-1.5b-instruct --items 10 --output optimize.json

Both arms ask the same model; the raw one takes its first greedy answer as it is. The judge is the same for both and
shown to neither: calls whose results must equal the original's, and a bench, on which the lower end of the 95 %
interval of the speed-up must be above 1.05. The skill finds its own inputs. The speed-up of an arm is the geometric
mean over all items; an answer that is wrong or not faster counts as 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from colosse.assistant.code import extract, optimize
from colosse.assistant.code.differential import difference, replay, steady
from colosse.assistant.code.measure import Speedup, measure
from colosse.assistant.code.optimize import OptimizePrompts
from colosse.assistant.code.versions import FASTER
from colosse.assistant.skill import Work
from colosse.core.settings import load_settings
from colosse.engines.client import Client
from colosse.engines.engines import Engines
from colosse.engines.schema import ChatMessage


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


@dataclass
class Row:
    """What an arm made of an item: whether it is the same and faster by the judge, and what it claims itself."""

    item: str
    arm: str
    equal: bool = False
    faster: bool = False
    speedup: float = 1.0
    claimed: bool = False
    seconds: float = 0.0
    completion_tokens: int = 0
    problem: str = ""


async def judge(item: Item, code: str, row: Row) -> Row:
    """Fill in whether `code` is equal and faster."""
    cases = [{"make": "", "calls": [[item.name, text]]} for text in item.calls]
    benches = [f"{item.name}({item.bench})"]
    wanted, again, got = [await replay(text, "solution", cases, benches) for text in (item.code, item.code, code)]
    kept, changing = steady(cases, wanted, again)
    assert not changing and len(kept) == len(cases) + 1, (item.name, changing)
    found = difference(cases, benches, wanted, got, kept)
    row.equal, row.problem = found is None, str(found or "")
    if row.equal:
        (measured,), _ = await measure(item.code, code, "solution", benches, budget_s=6)
        if isinstance(measured, Speedup):
            row.faster, row.speedup = measured.low > FASTER, measured.speedup
    return row


async def raw(client: Client, item: Item, model: str) -> Row:
    """The first answer, as it is."""
    start = time.perf_counter()
    work = await Work.start(client, model, OptimizePrompts, "code_optimize")
    request = work.texts.optimize.format(
        language="Python", fence="python", code=item.code, approach=work.texts.approaches["algorithm"]
    )
    messages = [ChatMessage(role="system", content=work.texts.system), ChatMessage(role="user", content=request)]
    code, _ = extract((await work.ask(messages, 800)).text)
    row = Row(item.name, "raw", True, completion_tokens=work.usage.completion_tokens or 0)
    row.seconds = time.perf_counter() - start
    return await judge(item, code, row)


async def skill(client: Client, item: Item, model: str) -> Row:
    """What `optimize` hands back."""
    result = await optimize(client, item.code, model=model)
    row = Row(item.name, "skill", claimed=result.verified, seconds=result.seconds)
    row.completion_tokens = result.usage.completion_tokens or 0
    row = await judge(item, result.answer, row)
    if not result.verified:
        row.problem = "; ".join(f"{check.name}: {check.detail}" for check in result.failed)
    return row


async def main() -> None:
    """Run both arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="", help="the default model unless given")
    parser.add_argument("--data", type=Path, default=Path(__file__).with_name("slow_functions.toml"), metavar="TOML")
    parser.add_argument("--items", type=int, metavar="N", help="the first N functions")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write every row to this file")
    options = parser.parse_args()
    rows: list[Row] = []
    async with Engines(load_settings().value) as client:
        for item in items(options.data)[: options.items]:
            for arm in (raw, skill):
                row = await arm(client, item, options.model)
                rows.append(row)
                good = f"{row.speedup:8.2f} times" if row.equal else "    other results"
                print(f"{row.item:20} {row.arm:6} {good:18} {row.seconds:6.1f} s  {row.problem[:100]}", flush=True)
                if options.output:
                    options.output.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    columns = ("equal and faster", "equal", "wrongly claimed", "speed-up", "tokens", "seconds")
    print(f"\n{'':8}" + "".join(f"{column:>17}" for column in columns))
    for name in ("raw", "skill"):
        arm_rows = [row for row in rows if row.arm == name]
        logs = [math.log(row.speedup) if row.equal and row.faster else 0.0 for row in arm_rows]
        cells = (
            f"{sum(row.equal and row.faster for row in arm_rows)} of {len(arm_rows)}",
            sum(row.equal for row in arm_rows),
            sum(row.claimed and not row.equal for row in arm_rows),
            f"{math.exp(sum(logs) / len(logs)):.2f}",
            sum(row.completion_tokens for row in arm_rows),
            f"{sum(row.seconds for row in arm_rows):.0f}",
        )
        print(f"{name:8}" + "".join(f"{cell:>17}" for cell in cells))


if __name__ == "__main__":
    asyncio.run(main())
