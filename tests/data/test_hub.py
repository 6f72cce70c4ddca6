"""Datasets of the hub, streamed: through `datasets` from local files, and what is said when it cannot be."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from colosse.core.errors import ColosseError, UnavailableError, UserError
from colosse.data import hub
from colosse.data.config import SourceConfig
from colosse.data.prepare import prepare
from tests.data.conftest import prose
from tests.data.test_prepare import configure

datasets = pytest.importorskip("datasets")
SOURCE = SourceConfig(name="web", kind="hub", dataset="someone/something")


@pytest.fixture(autouse=True)
def fresh() -> None:
    hub._stream.cache_clear()


def test_a_dataset_is_read_shard_by_shard(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for shard in range(3):
        rows = [json.dumps({"text": prose(shard * 10 + n)}) for n in range(5)]
        (tmp_path / f"{shard}.jsonl").write_text("\n".join(rows))
    real = datasets.load_dataset
    asked: list[Any] = []

    def load(name: str, subset: str | None, **options: Any) -> Any:
        asked.append((name, subset, options))
        files = sorted(map(str, tmp_path.glob("*.jsonl")))
        return real("json", data_files=files, split=options["split"], streaming=options["streaming"])

    monkeypatch.setattr(datasets, "load_dataset", load)
    config = configure([], sources=[{"name": "web", "kind": "hub", "dataset": "a/b", "subset": "fr"}])
    folder = prepare(config, home, workers=1)
    assert asked == [("a/b", "fr", {"split": "train", "streaming": True})]
    assert json.loads((folder / "manifest.json").read_text())["sources"][0]["read_documents"] == 15


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (ConnectionError("Couldn't reach the Hub"), UnavailableError, "out of reach"),
        (datasets.exceptions.DatasetNotFoundError("Dataset 'x' doesn't exist"), UserError, "doesn't exist"),
        (ValueError("Bad split: dev. Available splits: ['train']"), UserError, "Bad split"),
    ],
)
def test_what_goes_wrong_is_said(
    failure: Exception, kind: type[ColosseError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise failure

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(kind, match=message):
        list(hub.shards(SOURCE))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="extra that is not installed"):
        list(hub.shards(SOURCE))
