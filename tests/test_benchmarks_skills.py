"""The frame of the skills' benchmarks: what a kill leaves, intervals, fair judges; and a few known answers."""

from __future__ import annotations

import random
from argparse import Namespace
from pathlib import Path

import pytest
from benchmarks import skills_code, skills_scripted
from benchmarks.skills_common import Answer, Bench, Measure, Run, measure, shown, table_of, unseen, wilson

from colosse.assistant import embed, sandbox
from colosse.core.errors import ColosseError, UserError


def isolated() -> bool:
    try:
        sandbox.require()
    except ColosseError:
        return False
    return True


needs_sandbox = pytest.mark.skipif(not isolated(), reason="no isolation here")
needs_meaning = pytest.mark.skipif(not embed.available(), reason="no sentence embeddings")


def bench(fail_at: int = -1) -> Bench:
    """Items whose raw answers are right when even, and whose skill's always are; it dies at one of them."""

    async def run(run: Run) -> None:
        for number in range(run.items):

            async def judge(answer: Answer) -> dict[str, object]:
                return {"correct": answer.text == "right"}

            async def raw(number: int = number) -> Answer:
                if number == fail_at:
                    raise KeyboardInterrupt
                return Answer("wrong" if number % 2 else "right")

            async def skill(number: int = number) -> Answer:
                if number == 1:
                    raise UserError("gives up")
                return Answer("right", verified=True)

            await run.both("numbers", f"item {number}", raw, skill, judge)

    return Bench("numbers", {"numbers": (Measure("correct", "correct"),)}, run, needs_model=False)


async def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    options = Namespace(data=tmp_path, items=4, seed=0, output=output, model="", resume=False)
    with pytest.raises(KeyboardInterrupt):
        await measure([bench(fail_at=2)], options)
    rows = output.with_suffix(".jsonl")
    assert len(rows.read_text().splitlines()) == 2
    with rows.open("a") as file:
        file.write('{"table": "numbers", "item": "ite')  # killed while it wrote
    with pytest.raises(UserError, match="is there already"):
        await measure([bench()], options)
    options.resume = True
    (line,) = (await measure([bench()], options))["table"]
    assert (line["items"], line["raw_n"], line["raw_value"][0], line["skill_value"][0]) == (4, 4, 0.5, 0.75)
    assert line["ratio"] == 1.5
    assert len(rows.read_text().splitlines()) == 4
    assert "2 of 4, 50% (15% to 85%)" in shown([line])
    options.seed = 1
    with pytest.raises(UserError, match="with seed 0"):
        await measure([bench()], options)


def test_intervals_and_what_is_left_out() -> None:
    assert [round(end, 3) for end in wilson(8, 10)] == [0.490, 0.943]  # Newcombe 1998
    rows = [
        {"table": "t", "raw": {"seconds": 1, "x": None, "s": 1.0}, "skill": {"seconds": 2, "x": x, "s": 4.0}}
        for x in (True, None, False)
    ]
    rate, speed = table_of(rows, {"t": (Measure("x", "x"), Measure("s", "s", "geometric")), "empty": ()})
    assert (rate["raw_value"], rate["skill_n"], rate["skill_value"][0], rate["ratio"]) == (None, 2, 0.5, None)
    assert (round(speed["ratio"], 6), speed["skill_s"]) == (4.0, 2)


def test_items_of_the_development_are_left_out() -> None:
    held = unseen(474, 0, first=30)
    assert held == unseen(474, 0, first=30) != unseen(474, 1, first=30)
    assert len(set(held)) == len(held) > 250
    assert not set(held) & set(random.Random(5).sample(range(474), 474)[:30])
    assert not set(unseen(474, 0, samples=[8])) & set(random.Random(2).sample(range(474), 8))


def test_hidden_tests_that_can_be_written_down() -> None:
    assert skills_code.asserted("f(1)", "[1, 'a']") == "assert f(1) == [1, 'a']"
    near = skills_code.asserted("f(1)", "0.3")
    exec(near, {"f": lambda _: 0.1 + 0.2})
    with pytest.raises(AssertionError):
        exec(near, {"f": lambda _: 0.301})
    assert skills_code.asserted("f(1)", "[0.1]") == skills_code.asserted("f(1)", "<object>") == ""


@needs_sandbox
async def test_a_pair_is_judged_by_the_mended_half() -> None:
    fixed = "class Solution:\n    def most(self, nums: List[int], k: int) -> int:\n        return max(nums) + k\n"
    row = {"fixed_code": fixed, "buggy_code": fixed.replace("max", "min"), "slug": "most", "bug_type": "logic"}
    item = await skills_code.pair(row, random.Random(0))
    assert item is not None
    judge = skills_code.judged(item)
    right = skills_code.IMPORTS + fixed
    assert await judge(Answer(right, verified=True)) == {"correct": True, "right_when_verified": True}
    assert await judge(Answer(item.files["solution.py"])) == {"correct": False, "right_when_verified": None}
    assert not (await judge(Answer("")))["correct"]
    assert await skills_code.pair({**row, "buggy_code": fixed}, random.Random(0)) is None


@needs_sandbox
@needs_meaning
async def test_known_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of it is `python -m benchmarks.skills --scripted`."""
    few = [case for case in skills_scripted.CASES if case.skill in ("code write", "summarize")]
    monkeypatch.setattr(skills_scripted, "CASES", few)
    found = await skills_scripted.measure(["code write", "summarize"])
    assert [case for case, yes in found if yes == bool(case.bad)] == []
    monkeypatch.setattr(skills_scripted, "CASES", [few[0]._replace(bad="but it is right")])
    assert [yes for _, yes in await skills_scripted.measure(["code write"])] == [True]
