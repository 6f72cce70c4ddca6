"""How much memory training takes."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from colosse.train.memory import memory_in_use  # noqa: E402

pytestmark = pytest.mark.torch


def test_a_processor_says_what_the_process_holds() -> None:
    before = memory_in_use(torch.device("cpu"))
    held = torch.ones(16 << 20)
    assert memory_in_use(torch.device("cpu")) - before > 0.9 * held.nbytes
