"""`colosse ask`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.conftest import COMMAND
from tests.fixtures.scripted import Scripted

pytestmark = pytest.mark.usefixtures("scripted_settings")


def test_streams_the_answer(scripted: Scripted, colosse: Any) -> None:
    done = colosse("ask", "hello", "big world")
    assert (done.returncode, done.stdout, done.stderr) == (0, "echo: hello big world\n", "")
    system, user = scripted.requests[0].body["messages"]
    assert system["role"] == "system"
    assert "Colosse" in system["content"]
    assert user == {"role": "user", "content": "hello big world"}


def test_options_reach_the_engine(scripted: Scripted, colosse: Any) -> None:
    options = ["--system", "be brief", "--max-tokens", 7, "--temperature", 0.5, "--seed", 3]
    done = colosse("ask", "hi", *options, "--json")
    body = scripted.requests[0].body
    assert body["messages"][0]["content"] == "be brief"
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (7, 0.5, 3)
    answer = json.loads(done.stdout)
    assert answer.keys() == {"answer", "model", "usage", "seconds", "finish_reason"}
    assert (answer["answer"], answer["model"], answer["finish_reason"]) == ("echo: hi", "scripted", "stop")
    assert answer["usage"]["completion_tokens"] == 2


def test_piped_text_comes_below_the_question(scripted: Scripted, colosse: Any, tmp_path: Path) -> None:
    assert colosse("ask", "explain", input="line 1\nline 2\n").stdout == "echo: explain\n\nline 1\nline 2\n"
    assert colosse("ask", input="only piped\n").stdout == "echo: only piped\n"
    (tmp_path / "file").write_text("from a file")
    with (tmp_path / "file").open() as file:
        done = subprocess.run([*COMMAND, "ask", "see"], stdin=file, capture_output=True, text=True)
    assert done.stdout == "echo: see\n\nfrom a file\n"


@pytest.mark.parametrize(
    ("arguments", "input", "said"),
    [
        (["ask"], None, "there is no question"),
        (["ask", " "], b" \n", "there is no question"),
        (["ask", "x"], b"\xff\xfe\x00", "standard input is not"),
        (["ask", "x"], b"\x00\x01\x02", "standard input is not text"),
        (["ask", "x", "--model", "scripte"], None, "did you mean 'scripted'"),
    ],
)
def test_bad_input_is_one_line(colosse: Any, arguments: list[str], input: bytes | None, said: str) -> None:
    done = colosse(*arguments, input=input)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("colosse: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_unknown_model_without_endpoints_names_the_nearest_of_the_catalogue(colosse: Any) -> None:
    done = colosse("ask", "x", "--model", "smollm2-135m-instuct", COLOSSE_ENDPOINTS="[]")
    assert done.returncode == 2
    assert "did you mean 'smollm2-135m-instruct'" in done.stderr


def test_engine_failure_is_one_line(scripted: Scripted, colosse: Any) -> None:
    scripted.fail(500, "boom")
    done = colosse("ask", "x")
    assert done.returncode == 1
    assert "boom" in done.stderr
    assert done.stderr.count("\n") == 1


def test_too_long_says_how_long(scripted: Scripted, colosse: Any) -> None:
    scripted.max_model_len = 100
    done = colosse("ask", "word " * 200)
    assert done.returncode == 2
    assert "takes 100" in done.stderr


def test_output_that_nobody_reads(scripted: Scripted) -> None:
    scripted.reply = "word " * 100_000
    command = " ".join(f"'{word}'" for word in COMMAND)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} ask hi < /dev/null | head -c 20"], capture_output=True, text=True
    )
    assert done.stdout == "word word word word "
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    scripted.wait(lambda: scripted.running == 0)


def interrupt_midway(command: list[str], env: dict[str, str]) -> tuple[int, str, str, list[psutil.Process]]:
    """Start, wait for output, send Ctrl-C to the group; (exit code, output, errors, children it had)."""
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, process_group=0
    )
    assert child.stdout is not None
    first = os.read(child.stdout.fileno(), 100)
    engines = psutil.Process(child.pid).children(recursive=True)
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=60)
    return child.returncode, (first + out).decode(), err.decode(), engines


def test_ctrl_c_stops_cleanly(scripted: Scripted) -> None:
    scripted.reply, scripted.tokens_per_second = "word " * 10_000, 50
    code, out, err, _ = interrupt_midway([*COMMAND, "ask", "hi"], dict(os.environ))
    assert code == 130
    assert out.startswith("word ")
    assert "Traceback" not in err
    scripted.wait(lambda: scripted.running == 0 and scripted.requests[0].disconnected)


@pytest.mark.model
def test_a_real_model_answers_and_leaves_no_engine(
    smollm2_home: Path, monkeypatch: pytest.MonkeyPatch, colosse: Any
) -> None:
    monkeypatch.setenv("COLOSSE_MODEL", "smollm2-135m-instruct")
    monkeypatch.delenv("COLOSSE_ENDPOINTS")
    question = ["What is the capital of France?", "--system", "You are a helpful assistant."]
    done = colosse("ask", *question, "--temperature", 0, "--max-tokens", 40, "--json")
    answer = json.loads(done.stdout)
    assert "Paris" in answer["answer"]
    assert answer["usage"]["prompt_tokens"] > 10

    command = [*COMMAND, "ask", "Tell me a long story", "--max-tokens", "4000"]
    code, out, err, engines = interrupt_midway(command, dict(os.environ))
    assert code == 130
    assert out
    assert "Traceback" not in err
    assert engines
    deadline = time.monotonic() + 20
    while any(engine.is_running() and engine.status() != psutil.STATUS_ZOMBIE for engine in engines):
        assert time.monotonic() < deadline, engines
        time.sleep(0.05)
