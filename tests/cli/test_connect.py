"""Whom a command talks to."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import COMMAND
from tests.fixtures.scripted import Scripted

ALONE = {"COLOSSE_ENDPOINTS": "[]", "COLOSSE_MODEL": "auto"}
"""Environment of a command that knows no endpoint: only a running server can answer it."""


@pytest.fixture
def server(scripted_settings: Any, home: Path) -> Iterator[str]:
    """The URL of a `colosse serve` over the scripted engine."""
    child = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--no-open"], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (home / "run" / "server.json").is_file():
        assert child.poll() is None, child.stderr and child.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield json.loads((home / "run" / "server.json").read_text())["url"]
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)


def test_a_running_server_is_used(scripted: Scripted, server: str, colosse: Any) -> None:
    assert colosse("ask", "hello", **ALONE).stdout == "echo: hello\n"
    assert colosse("chat", input="one\n/model\n", **ALONE).stdout == "echo: one\n"
    scripted.reply = "Bonjour"
    assert colosse("translate", "Hello", "--to", "fr", **ALONE).stdout == "Bonjour\n"
    done = colosse("ask", "hello", "--model", "scriptet", **ALONE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "did you mean 'scripted'" in done.stderr
    findings = {f["name"]: f for f in json.loads(colosse("doctor", "--json", **ALONE).stdout)}
    assert server in findings["server"]["detail"]
    assert "port" not in findings


def test_a_wrong_key_is_said(server: str, colosse: Any) -> None:
    done = colosse("ask", "hello", **ALONE, COLOSSE_API_KEY="ck-" + "0" * 43)
    assert done.returncode == 2
    assert "refuses the key in COLOSSE_API_KEY" in done.stderr
    key = json.loads(colosse("keys", "create", "--json").stdout)["key"]
    assert colosse("ask", "hello", **ALONE, COLOSSE_API_KEY=key).stdout == "echo: hello\n"


@pytest.mark.usefixtures("scripted_settings")
def test_a_server_that_died_is_not(home: Path, colosse: Any) -> None:
    (home / "run").mkdir(parents=True)
    dead = {"pid": 1, "url": "http://127.0.0.1:9", "instance": "x", "started_at": "2026-01-01T00:00:00+00:00"}
    (home / "run" / "server.json").write_text(json.dumps(dead))
    assert colosse("ask", "hello").stdout == "echo: hello\n"


def catalogue(home: Path, weights: Path) -> None:
    """The person's own model `mine`, whose only source is a file."""
    home.mkdir()
    source = f'[[models.mine.sources]]\nkind = "path"\npath = "{weights}"\n'
    (home / "models.toml").write_text(f'[models.mine]\ntitle = "Mine"\n{source}')


def test_a_pull_that_fails_is_said(home: Path, colosse: Any, tmp_path: Path) -> None:
    catalogue(home, tmp_path / "gone.gguf")
    done = colosse("ask", "hello", "--model", "mine")
    assert done.returncode in (1, 2)
    assert "mine is not here yet: pulling it" in done.stderr
    assert "gone.gguf" in done.stderr.splitlines()[-1]


@pytest.mark.model
def test_a_missing_model_is_pulled_first(home: Path, colosse: Any, smollm2: Path) -> None:
    catalogue(home, smollm2)
    done = colosse("ask", "hello", "--model", "mine", "--max-tokens", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "mine is not here yet: pulling it" in done.stderr
    assert "pulling" not in colosse("ask", "hello", "--model", "mine", "--max-tokens", "5").stderr
