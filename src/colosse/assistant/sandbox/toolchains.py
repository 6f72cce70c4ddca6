"""Which programming languages can be run in the sandbox here, and how."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from colosse.assistant.sandbox.system import PYTHON, search_path

_PROGRAM = "./program"
_STRIPS_TYPES = (22, 18)
"""The node that runs TypeScript without being told to; it does not check the types."""


@dataclass(frozen=True)
class Toolchain:
    """How a file of one language is run.

    Attributes:
        language: `python`, `c`, `cpp`, `javascript`, `typescript`, `java`, `go` or `rust`.
        suffix: of its files.
        missing: why it cannot be used here and how to mend it; empty when it can.
        compiler: command that makes `./program` of the file `{file}`; empty when nothing is to be made.
        runner: command that runs what the compiler made, or the file itself.
        env: environment that the commands need.
    """

    language: str
    suffix: str
    missing: str = ""
    compiler: tuple[str, ...] = ()
    runner: tuple[str, ...] = (_PROGRAM,)
    env: Mapping[str, str] = field(default_factory=dict)

    def compile(self, file: str) -> tuple[str, ...]:
        """The command that compiles `file`; empty when it is run as it is."""
        return tuple(part.format(file=file) for part in self.compiler)

    def run(self, file: str) -> tuple[str, ...]:
        """The command that runs `file`, which was compiled before where there is something to compile."""
        return tuple(part.format(file=file) for part in self.runner)


@cache
def toolchains() -> dict[str, Toolchain]:
    """Language -> how it is run; compilers are looked for where the sandbox shows them."""
    cc, cxx, go, rustc = _first("gcc", "clang"), _first("g++", "clang++"), _first("go"), _first("rustc")
    node, java = _first("node"), _first("java")
    return {
        tool.language: tool
        for tool in (
            Toolchain("python", ".py", runner=(PYTHON, "{file}")),
            Toolchain(
                "c", ".c", "" if cc else "no C compiler: install gcc", (cc, "-O2", "-o", _PROGRAM, "{file}", "-lm")
            ),
            Toolchain(
                "cpp",
                ".cpp",
                "" if cxx else "no C++ compiler: install g++",
                (cxx, "-O2", "-std=c++20", "-o", _PROGRAM, "{file}"),
            ),
            Toolchain("javascript", ".js", "" if node else "install Node.js", runner=(node, "{file}")),
            _typescript(node),
            # The launcher compiles a single file; the serial collector spares a thread per core.
            Toolchain(
                "java",
                ".java",
                "" if java and _first("javac") else "install a JDK, 11 or newer",
                runner=(java, "-XX:+UseSerialGC", "{file}"),
            ),
            Toolchain(
                "go",
                ".go",
                "" if go else "install Go",
                (go, "build", "-o", _PROGRAM, "{file}"),
                env={"GOCACHE": "/tmp/go", "GOPATH": "/tmp/gopath", "GOPROXY": "off", "CGO_ENABLED": "0"},  # noqa: S108
            ),
            Toolchain(
                "rust",
                ".rs",
                "" if rustc and cc else "install Rust and a C compiler, which links its programs",
                (rustc, "--edition=2021", "-O", "-o", _PROGRAM, "{file}"),
            ),
        )
    }


def _typescript(node: str) -> Toolchain:
    new = bool(node) and _version(node) >= _STRIPS_TYPES
    return Toolchain("typescript", ".ts", "" if new else "install Node.js 22.18 or newer", runner=(node, "{file}"))


def _first(*names: str) -> str:
    """The path of the first program that is there."""
    return next((path for name in names if (path := shutil.which(name, path=search_path()))), "")


def _version(node: str) -> tuple[int, ...]:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(map(int, re.findall(r"\d+", said)[:2]))
