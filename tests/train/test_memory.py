"""How much memory training takes, and that it is kept."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from colosse.train.memory import memory_in_use  # noqa: E402

pytestmark = pytest.mark.torch

CHILD = """
import resource
import numpy
from colosse.train.memory import keep_freed_memory
kept = keep_freed_memory()
def fill():
    for _ in range(10):
        numpy.empty(2**24).fill(1)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_a_processor_says_what_the_process_holds() -> None:
    before = memory_in_use(torch.device("cpu"))
    held = torch.ones(16 << 20)
    assert memory_in_use(torch.device("cpu")) - before > 0.9 * held.nbytes


def test_freed_memory_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    if kept == "False":
        pytest.skip("this C library cannot be told")
    assert int(faults) < 10 * 2**27 / resource.getpagesize() / 10
