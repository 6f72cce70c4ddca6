"""Programs of the languages that have a toolchain here: checked, built, run with tests or with an input."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from colosse.assistant.code.judge import Trial, shorten
from colosse.assistant.code.languages import title_of
from colosse.assistant.sandbox import PYTHON, Limits, Ran, run, toolchains
from colosse.core.errors import UserError

LIMITS = Limits(cpu_s=40, wall_s=60, memory_mb=2048, processes=128)
"""Compilers and virtual machines need more than the scripts of the other runs."""


class Layout(NamedTuple):
    """Where the code of a language and a test program for it stand.

    Attributes:
        file: name of the code's file.
        tests: name of a test program's file.
        check: shell line that looks at the code alone.
        link: how a test program reaches the code, in words for the model.
    """

    file: str
    tests: str
    check: str
    link: str


_INCLUDE = 'It begins with #include "solution.{}", which has no main of its own.'
# Node runs TypeScript by leaving the types out, and so it is checked; `--check` knows nothing of types.
_STRIP = (
    "const fs = require('fs'), text = fs.readFileSync('solution.ts', 'utf8'); fs.writeFileSync('solution.mjs', "
    "require('module').stripTypeScriptTypes(text, {sourceUrl: 'solution.ts'}))"
)
LAYOUTS = {
    "python": Layout(
        "solution.py",
        "tests.py",
        f"{shlex.quote(PYTHON)} -m py_compile solution.py",
        "It imports the code from the module `solution`.",
    ),
    "javascript": Layout(
        "solution.js",
        "tests.js",
        # Of a file that turns out to be a module, node checks nothing unless its name says so.
        "if grep -Eq '^(import|export)[ {*]' solution.js; then cp solution.js solution.mjs; node --check solution.mjs; "
        "else node --check solution.js; fi",
        "It uses require('./solution.js'), which exports its functions with module.exports.",
    ),
    "typescript": Layout(
        "solution.ts",
        "tests.ts",
        f'node --no-warnings -e "{_STRIP}" && node --check solution.mjs',
        "It imports the functions from './solution.ts'.",
    ),
    "c": Layout("solution.c", "tests.c", "cc -w -fsyntax-only solution.c", _INCLUDE.format("c")),
    "cpp": Layout("solution.cpp", "tests.cpp", "c++ -std=c++20 -w -fsyntax-only solution.cpp", _INCLUDE.format("cpp")),
    "java": Layout(
        "Solution.java",
        "Tests.java",
        "javac -nowarn -d out Solution.java",
        "The code is the class `Solution`; the tests are the class `Tests` with a main.",
    ),
    "go": Layout(
        "solution.go",
        "tests.go",
        "go vet -buildtag solution.go",  # names and types, and of what else vet looks at the cheapest alone
        "Both are in package main and are built together; the tests have the main.",
    ),
    "rust": Layout(
        "solution.rs",
        "tests.rs",
        "rustc --edition 2021 --crate-type lib --emit metadata solution.rs",
        "It begins with `mod solution;` and `use solution::*;`; the functions are pub.",
    ),
}


def present(language: str) -> bool:
    """Whether programs of the language can be run here."""
    return language in LAYOUTS and not toolchains()[language].missing


def missing(language: str) -> str:
    """Why they cannot be."""
    if language not in LAYOUTS:
        return f"{title_of(language) or 'this language'} is not run here"
    return f"{title_of(language)} was not run: {toolchains()[language].missing}"


def need(language: str) -> None:
    """Refuse a language whose programs cannot be run here.

    Raises:
        UserError: it cannot.
    """
    if not present(language):
        raise UserError(missing(language), hint="leave the tests out", code="no_toolchain")


def stem(language: str) -> str:
    """The module that the code of a language is kept in: `solution`, or Java's class `Solution`."""
    return Path(LAYOUTS[language].file).stem


def link(language: str) -> str:
    """How a test program reaches the code, in words for the model."""
    return LAYOUTS[language].link


async def judge(language: str, code: str, tests: str = "") -> Trial:
    """Run a test program over the code, which passes when it exits with 0; without one, whether the code compiles."""
    if not present(language):
        return Trial(command="none", ok=False, reason=missing(language))
    layout = LAYOUTS[language]
    if not tests:
        return _trial(layout.check, await _shell(language, layout.check, {layout.file: code}))
    files = {layout.file: code, layout.tests: tests}
    return _trial(command(language, layout.tests), await _shell(language, command(language, layout.tests), files))


async def outputs(language: str, code: str, inputs: Sequence[bytes]) -> list[Ran]:
    """Build and run a program once for each input, with that on standard input."""
    line, file = command(language, LAYOUTS[language].file), LAYOUTS[language].file
    return [await _shell(language, line, {file: named(language, code)}, given) for given in inputs]


def command(language: str, file: str) -> str:
    """The shell line that builds and runs a file; tests are built together with the code."""
    chain = toolchains()[language]
    build, start = shlex.join(chain.compile(file)), shlex.join(chain.run(file))
    if language == "java":  # its launcher takes one file alone
        build, start = "javac -nowarn -d out *.java", f"java -XX:+UseSerialGC -cp out {Path(file).stem}"
    elif language == "go" and file == LAYOUTS["go"].tests:
        build += f" {LAYOUTS['go'].file}"
    return f"{build} && {start}" if build else start


def named(language: str, code: str) -> str:
    """`code` with the class name that its file needs: Java's public class, or that of its main, becomes `Solution`."""
    if language != "java":
        return code
    main = code.find("static void main")
    classes = [match for match in re.finditer(r"\bclass\s+(\w+)", code) if match.start() < max(main, 0)]
    public = re.search(r"\bpublic\s+(?:final\s+)?class\s+(\w+)", code) or (classes[-1] if classes else None)
    return re.sub(rf"\b{public[1]}\b", "Solution", code) if public else code


async def _shell(language: str, line: str, files: Mapping[str, str], stdin: bytes = b"") -> Ran:
    env = toolchains()[language].env
    return await run(["/bin/sh", "-c", line], files=files, stdin=stdin, limits=LIMITS, env=env)


def _trial(command: str, ran: Ran) -> Trial:
    ok = ran.exit_code == 0 and not ran.stopped
    output = "" if ok else shorten(f"{ran.stdout}\n{ran.stderr}") or f"exit code {ran.exit_code} {ran.stopped}".strip()
    return Trial(command=command, ok=ok, output=output)
