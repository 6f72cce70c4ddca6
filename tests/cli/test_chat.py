"""`colosse chat`, in a terminal and from a script."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import COMMAND
from tests.cli.terminal import Terminal
from tests.fixtures.scripted import Scripted

pytestmark = pytest.mark.usefixtures("scripted_settings")

ENTER, ALT_ENTER, CTRL_C, CTRL_D, TAB = "\r", "\x1b\r", "\x03", "\x04", "\t"


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal(*COMMAND, "chat", LANG="en_US.UTF-8", LC_ALL="") as opened:
        opened.expect("/help shows the commands")
        opened.expect("›")
        yield opened


def said(scripted: Scripted, request: int = -1) -> list[tuple[str, str]]:
    """(role, text) of what a request sent, without the system message."""
    return [(m["role"], m["content"]) for m in scripted.requests[request].body["messages"][1:]]


def test_a_conversation(scripted: Scripted, terminal: Terminal, home: Path) -> None:
    terminal.type(f"hello{ENTER}")
    terminal.expect("echo: hello")
    terminal.expect("2 tokens · ")
    terminal.expect("tokens/s")
    terminal.type(f"and you?{ENTER}")
    terminal.expect("echo: and you?")
    assert said(scripted) == [("user", "hello"), ("assistant", "echo: hello"), ("user", "and you?")]
    terminal.expect("›")
    terminal.type(CTRL_D)
    assert terminal.wait() == 0
    history = home / "chat_history"
    assert "+and you?" in history.read_text()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_several_lines(scripted: Scripted, terminal: Terminal) -> None:
    terminal.type(f"one{ALT_ENTER}two{ENTER}")
    terminal.expect("echo: one")
    terminal.expect("›")
    terminal.type(f'"""three{ENTER}four"""{ENTER}')
    terminal.expect("echo: three")
    terminal.expect("›")
    terminal.type(f"\x1b[200~five\nsix\n/exit\x1b[201~{ENTER}")
    terminal.expect("echo: five")
    terminal.expect("›")
    users = [text for role, text in said(scripted) if role == "user"]
    assert users == ["one\ntwo", "three\nfour", "five\nsix\n/exit"]


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(scripted: Scripted, terminal: Terminal) -> None:
    scripted.reply, scripted.tokens_per_second = "word " * 10_000, 50
    terminal.type(f"talk{ENTER}")
    terminal.expect("word word")
    terminal.type(CTRL_C)
    terminal.expect("stopped")
    terminal.expect("›")
    scripted.wait(lambda: scripted.requests[0].disconnected and scripted.running == 0)
    terminal.type(f"half a line{CTRL_C}")
    terminal.expect("›")
    scripted.reply, scripted.tokens_per_second = "fine", 0
    terminal.type(f"go on{ENTER}")
    terminal.expect("fine")
    (_, first), (role, partial), (_, second) = said(scripted)
    assert (first, role, second) == ("talk", "assistant", "go on")
    assert partial.startswith("word word")
    assert terminal.process.poll() is None
    terminal.expect("›")
    terminal.type(f"/exit{ENTER}")
    assert terminal.wait() == 0
    assert "Traceback" not in terminal.seen


def test_commands_and_completion(scripted: Scripted, terminal: Terminal, tmp_path: Path) -> None:
    terminal.type(f"/sys{TAB}")
    terminal.expect("tem")
    terminal.type(f" be brief{ENTER}")
    terminal.expect("instructions: be brief")
    terminal.type(f"hello{ENTER}")
    terminal.expect("echo: hello")
    assert scripted.requests[0].body["messages"][0]["content"] == "be brief"
    terminal.expect("›")
    scripted.reply = "another"
    terminal.type(f"/retry{ENTER}")
    terminal.expect("another")
    assert said(scripted) == [("user", "hello")]
    terminal.expect("›")
    terminal.type(f"/model{ENTER}")
    terminal.expect("* scripted")
    terminal.type(f"/model nobody{ENTER}")
    terminal.expect("unknown model 'nobody'")
    terminal.type(f"/save {tmp_path}/talk.md{ENTER}")
    terminal.expect("saved to")
    assert (tmp_path / "talk.md").read_text() == "> be brief\n\n## You\n\nhello\n\n## scripted\n\nanother\n"
    terminal.type(f"/save {tmp_path}/talk.md{ENTER}")
    terminal.expect("exists already")
    terminal.type(f"/new{ENTER}")
    terminal.expect("a new conversation")
    terminal.type(f"/retry{ENTER}")
    terminal.expect("nothing to answer again")
    terminal.type(f"/halp{ENTER}")
    terminal.expect("did you mean '/help'")
    terminal.type(f"/help{ENTER}")
    terminal.expect("Ctrl-C: stop the answer")


def test_greets_in_french() -> None:
    with Terminal(*COMMAND, "chat", LC_ALL="fr_FR.UTF-8") as terminal:
        terminal.expect("/help montre les commandes")
        terminal.expect("›")
        terminal.type(CTRL_D)
        assert terminal.wait() == 0


def test_a_failed_answer_leaves_the_conversation_as_it_was(scripted: Scripted, terminal: Terminal) -> None:
    scripted.fail(400, "boom")
    terminal.type(f"hello{ENTER}")
    terminal.expect("boom")
    terminal.expect("›")
    scripted.mend()
    terminal.type(f"/retry{ENTER}")
    terminal.expect("echo: hello")
    assert said(scripted) == [("user", "hello")]


def test_every_line_of_a_script_is_a_message(scripted: Scripted, colosse: Any, tmp_path: Path) -> None:
    lines = f'one\n\n"""\ntwo\nthree\n"""\n/save {tmp_path}/talk.json\n/exit\nnever\n'
    done = colosse("chat", "--system", "be brief", "--max-tokens", 50, "--seed", 1, input=lines)
    assert (done.returncode, done.stdout) == (0, "echo: one\necho: two\nthree\n")
    assert scripted.requests[0].body["max_tokens"] == 50
    saved = json.loads((tmp_path / "talk.json").read_text())
    assert (saved["model"], saved["system"]) == ("scripted", "be brief")
    assert [m["content"] for m in saved["messages"]] == ["one", "echo: one", "two\nthree", "echo: two\nthree"]
    assert len(scripted.requests) == 2


def test_a_script_goes_on_after_an_error_and_says_so_at_the_end(scripted: Scripted, colosse: Any) -> None:
    done = colosse("chat", input="/nothing\nhello")
    assert (done.returncode, done.stdout) == (1, "echo: hello\n")
    assert (
        done.stderr == "colosse: unknown command /nothing (known: /exit, /help, /model, /new, /retry, /save, /system)\n"
    )


def test_a_path_is_not_a_command(scripted: Scripted, colosse: Any) -> None:
    assert colosse("chat", input="/usr/bin is what?\n").stdout == "echo: /usr/bin is what?\n"


def test_oldest_messages_are_left_out_and_it_is_said_once(scripted: Scripted, colosse: Any) -> None:
    scripted.max_model_len = 600
    lines = "".join(f"message number {i} " + "with some more words " * 10 + "\n" for i in range(12))
    done = colosse("chat", "--max-tokens", 20, input=lines)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the oldest messages are left out") == 1
    assert said(scripted)[0][0] == "user"
    assert said(scripted)[-1][1].startswith("message number 11")
    assert len(said(scripted)) < 12


def test_ctrl_c_while_waiting_for_a_line_ends_a_script(scripted: Scripted) -> None:
    read, write = os.pipe()
    child = subprocess.Popen(
        [*COMMAND, "chat"], stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    )
    os.close(read)
    os.write(write, b"hello\n")
    assert child.stdout is not None
    assert child.stdout.readline() == b"echo: hello\n"
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=60)
    os.close(write)
    assert child.returncode == 130
    assert b"Traceback" not in err + out
    assert sys.platform == "win32" or b"Fatal" not in err
