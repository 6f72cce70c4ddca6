"""The command as a whole: it starts light, and its documentation says what it does."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from colosse.cli.main import app

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
HEAVY = ["httpx2", "aiohttp", "fastapi", "sqlalchemy", "torch", "xllamacpp", "uvicorn", "prompt_toolkit"]


def commands() -> Iterator[tuple[str, Any]]:
    """(words after `colosse`, command) of every command."""

    def below(command: Any, words: str) -> Iterator[tuple[str, Any]]:
        if subcommands := getattr(command, "commands", None):
            for name, sub in subcommands.items():
                yield from below(sub, f"{words} {name}".strip())
        else:
            yield words, command

    yield from below(typer.main.get_command(app), "")


def options(command: Any) -> set[str]:
    return {flag for p in command.params if p.param_type_name == "option" for flag in p.opts if flag.startswith("--")}


COMMANDS = dict(commands())


@pytest.mark.parametrize("arguments", [["--help"], ["ask", "--help"], ["chat", "--help"], ["doctor", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom colosse.cli.main import main\n"
        f"sys.argv = ['colosse', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code, left.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_talking_imports_no_torch(scripted_settings: Any) -> None:
    """With torch installed, nothing on the way from a question to its answer imports it."""
    pytest.importorskip("torch")
    code = (
        "import sys\nfrom colosse.cli.main import app\n"
        "sys.argv = ['colosse', 'ask', 'hello']\n"
        "app(standalone_mode=False)\nassert 'torch' not in sys.modules and 'xllamacpp' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (0, "echo: hello\n"), done.stderr


def test_every_command_and_option_is_documented_and_nothing_else() -> None:
    sections = re.split(r"^## ", DOCS.read_text(), flags=re.MULTILINE)[1:]
    documented = {}
    for section in sections:
        if found := re.match(r"`colosse ([a-z ]+)`", section):
            documented[found[1]] = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section))
    assert documented.keys() == COMMANDS.keys()
    assert documented == {name: options(command) - {"--help"} for name, command in COMMANDS.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_for_every_parameter(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert [p.name for p in command.params if not getattr(p, "help", "") and p.name != "help"] == []


def test_version(colosse: Any) -> None:
    from colosse import __version__

    assert colosse("--version").stdout == f"colosse {__version__}\n"


def test_unknown_command(colosse: Any) -> None:
    done = colosse("tranlate")
    assert done.returncode == 2
    assert "translate" in done.stderr
