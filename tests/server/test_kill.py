"""A few rounds of `benchmarks/kill.py`, and that it would notice."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.kill import Asked, Rig, Tally, look, run


async def test_nothing_is_lost_when_server_or_engine_are_killed(tmp_path: Path) -> None:
    tally = await run(4, tmp_path / "home", seed=1)
    assert (tally.rounds, tally.server_kills, tally.engine_kills, tally.questions) == (4, 2, 2, 12)
    assert tally.faults == 0, tally.details
    assert set(tally.statuses) <= {"interrupted", "failed", "complete"}
    assert tally.statuses.get("interrupted")


@pytest.mark.model
async def test_nothing_is_lost_nor_left_with_a_real_engine(tmp_path: Path, smollm2: Path) -> None:
    tally = await run(4, tmp_path / "home", gguf=smollm2, seed=2)
    assert tally.faults == 0, tally.details


async def test_a_loss_would_be_noticed(tmp_path: Path) -> None:
    async with Rig(tmp_path / "home", tokens_per_second=0) as rig:
        asked = await rig.ask("here")
        await rig.read(asked)
        good, wrong = Tally(), Tally()
        await look(rig, good, asked)
        assert good.faults == 0
        await look(rig, wrong, Asked(asked.thread, asked.run, "msg_0", asked.answer_id, "here"))
        assert wrong.lost_questions == 1
        await look(rig, wrong, Asked(asked.thread, asked.run, asked.question_id, asked.answer_id, "other text"))
        assert wrong.lost_questions == 2
        asked.seen = "something else"
        await look(rig, wrong, asked)
        assert wrong.wrong_answers == 1
        asked.thread = "thread_0"
        await look(rig, wrong, asked)
        assert wrong.unreadable_threads == 1
