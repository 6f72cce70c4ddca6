"""The same work under datatrove's executors."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("datatrove")

from datatrove.data import Document as Row
from datatrove.executor import LocalPipelineExecutor

from colosse.core.errors import ColosseError
from colosse.data.config import StepsConfig
from colosse.data.executor import Cluster, StepsBlock
from colosse.data.prepare import prepare
from tests.data.conftest import FRENCH, prose
from tests.data.test_prepare import configure, contents


def test_prepare_under_an_executor_gives_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    config = configure([corpus])
    cluster = Cluster("local", tasks=3, logs=tmp_path / "logs", workers=2)
    theirs = prepare(config, tmp_path / "theirs", pool=cluster)
    assert contents(theirs) == contents(prepare(config, tmp_path / "ours", workers=1))
    assert len(list((tmp_path / "logs").iterdir())) == 3  # clean, tokenise, assemble


def fail(job: int) -> None:
    raise ValueError(f"job {job} is impossible")


def test_a_task_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(ColosseError, match=r"fail failed: job 1 is impossible"):
        list(Cluster("local", tasks=1, logs=tmp_path, workers=1).run(fail, [1]))
    assert list(Cluster("local", tasks=1, logs=tmp_path).run(fail, [])) == []


def test_steps_in_a_pipeline_of_datatrove(tmp_path: Path) -> None:
    rows = [
        Row(prose(1, 12, FRENCH).replace("é", "Ã©"), "mended"),
        Row(prose(1, 12), "english"),
        Row("short", "told french", metadata={"language": "fr"}),
    ]
    kept: list[Row] = []

    def keep(data: object, rank: int, world_size: int) -> None:
        kept.extend(data)  # type: ignore[arg-type]

    steps = StepsConfig(languages=["fr"], quality=["fineweb"])
    executor = LocalPipelineExecutor([rows, StepsBlock(steps), keep], workers=1, logging_dir=str(tmp_path))
    executor.save_executor_as_json = lambda: None  # it cannot write a plain list of documents
    stats = executor.run()
    assert [(row.id, row.text, row.metadata["language"]) for row in kept] == [("mended", prose(1, 12, FRENCH), "fr")]
    counted = next(block.stats for block in stats.stats if block.name.endswith("Colosse steps"))
    assert counted["dropped_language"].total == 1
    assert counted["dropped_fineweb/line_punctuation"].total == 1
