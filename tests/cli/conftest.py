"""The command as a child process, as people and scripts run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "colosse.cli.main"]


@pytest.fixture
def colosse(home: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `colosse ARGUMENTS...` in this test's COLOSSE_HOME; `input` is piped in, else there is no input."""

    def run(*arguments: object, input: str | bytes | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        data = input.encode() if isinstance(input, str) else input
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            timeout=120,
            env={**os.environ, "COLUMNS": "200", **env},
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode().replace("\r\n", "\n"), done.stderr.decode()
        )

    return run
