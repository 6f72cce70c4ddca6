from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def test_the_example_of_the_page_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "model.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    assert tuple(names["logits"].shape) == (2, 32, 512)
    assert float(names["each"].sum().detach()) == pytest.approx(float(names["cross_entropy"].detach()), rel=1e-4)
