"""What `data prepare` is told is checked before anything else."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from colosse.core.config import load
from colosse.core.errors import UserError
from colosse.data.config import DataConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": []}, "at least 1"),
        ({"sources": [{"name": "a"}]}, "needs paths"),
        ({"sources": [{"name": "a", "kind": "hub"}]}, "needs a dataset"),
        ({"sources": [{"name": "A!", "kind": "python"}]}, "pattern"),
        ({"sources": [{"name": "a", "kind": "python"}] * 2}, "two sources have one name"),
        (
            {"sources": [{"name": "a", "kind": "python", "weight": 1}, {"name": "b", "kind": "python"}]},
            "give every source a weight, or none: 'b' has none",
        ),
        ({"steps.languages": ["french"]}, "pattern"),
        ({"steps.quality": ["goofer"]}, "gopher"),
        ({"tokenizer.vocab_size": 256}, "greater than or equal to 320"),
        ({"val_fraction": 0.0}, "greater than 0"),
        ({"vocab_size": 512}, "unknown setting"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(DataConfig, overrides=values)


def test_it_is_read_without_anything_heavy() -> None:
    code = (
        "import sys, colosse.data.config; sys.exit(bool({'numpy', 'torch', 'tokenizers', 'orjson'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
