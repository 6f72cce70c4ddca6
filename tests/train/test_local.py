"""Local ranks: what they are told, and that they live and die together."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch")

from colosse.core.errors import UserError
from colosse.core.machine import Gpu, machine
from colosse.train import local
from colosse.train.local import ranks_are_needed, run_ranks

pytestmark = pytest.mark.torch


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_each_is_told_who_it_is(tmp_path: Path) -> None:
    code = (
        "import os, pathlib\n"
        "names = ['RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'OMP_NUM_THREADS']\n"
        f"pathlib.Path({str(tmp_path)!r}, os.environ['RANK']).write_text(' '.join(os.environ[n] for n in names))"
    )
    assert run_ranks(python(code), 3) == 0
    for rank in range(3):
        told = (tmp_path / str(rank)).read_text().split()
        assert told[:4] == [str(rank), str(rank), "3", "127.0.0.1"] and int(told[4]) >= 1


def test_one_that_fails_takes_the_others_with_it(tmp_path: Path) -> None:
    code = "import os, time\nif os.environ['RANK'] == '1': raise SystemExit(7)\ntime.sleep(600)"
    began, before = time.monotonic(), set(psutil.Process().children())
    assert run_ranks(python(code), 2) == 7
    assert time.monotonic() - began < 100
    assert set(psutil.Process().children()) <= before


def test_sigterm_is_passed_on(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        f"pathlib.Path({str(tmp_path)!r}, os.environ['RANK']).touch()\ntime.sleep(600)"
    )

    def notify() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=notify)
    thread.start()
    assert run_ranks(python(code), 2) == 0
    thread.join()


def test_they_are_started_only_where_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert ranks_are_needed(2) and not ranks_are_needed(1)
    monkeypatch.setenv("RANK", "0")
    assert not ranks_are_needed(2)


def test_more_ranks_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine()
    one = type(here)(**{**vars(here), "gpus": (Gpu("a GPU", 1, 1),)})
    monkeypatch.setattr(local, "machine", lambda: one)
    with pytest.raises(UserError, match="for 2 ranks and this machine has 1 GPUs"):
        run_ranks(["true"], 2)
