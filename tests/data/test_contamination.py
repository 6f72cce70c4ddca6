"""Documents that hold what a model will be tested on are found by 13-grams."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from colosse.core.errors import UserError
from colosse.data.contamination import Contamination
from tests.data.conftest import prose

QUESTION = "If a lighthouse flashes every eight seconds, how many times does it flash in one hour and twenty minutes?"


@pytest.mark.parametrize("kind", ["txt", "jsonl", "jsonl.gz", "parquet"])
def test_shared_13_grams(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"eval.{kind}"
    row = {"id": 1, "question": QUESTION, "choices": [{"text": "600"}]}
    if kind == "txt":
        file.write_text(QUESTION)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), file)
    else:
        data = json.dumps(row).encode() + b"\n\n"
        file.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    contamination = Contamination([file])
    assert contamination.count(f"{prose(1)}\n{QUESTION}\n{prose(2)}") == 19 - 13 + 1
    assert contamination.count(QUESTION.upper().replace(",", " --")) == 7
    assert contamination.count(" ".join(QUESTION.split()[:12])) == 0
    assert contamination.count(prose(1)) == 0


def test_files_that_say_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(UserError, match="no text of 13 words"):
        Contamination([tmp_path / "short.txt"])
    with pytest.raises(UserError, match="cannot read"):
        Contamination([tmp_path / "missing.jsonl"])
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(UserError, match="line 1: not JSON"):
        Contamination([tmp_path / "bad.jsonl"])
    (tmp_path / "bad.parquet").write_text("PAR")
    with pytest.raises(UserError, match="cannot read"):
        Contamination([tmp_path / "bad.parquet"])
