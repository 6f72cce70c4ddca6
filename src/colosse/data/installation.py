"""The embedded corpus: the Python installation that runs this, which every machine has.

Three kinds of documents: the source of the standard library's modules (with their docstrings), the topics of Python's
built-in help, and the documentation of compiled modules, which have no source here.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path

from colosse.core.errors import UserError
from colosse.data.document import Document

SKIPPED_FOLDERS = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "__phello__"}
"""Installed packages differ between machines, and tests (more than half of all bytes) are mostly literals."""
SKIPPED_FILES = {"html/entities.py", "pydoc_data/topics.py"}
"""Tables; the topics are read as text instead."""


def entries() -> list[tuple[str, int]]:
    """(name, approximate bytes) of every document, in a fixed order.

    Raises:
        UserError: this installation carries no source.
    """
    root = _root()
    modules = []
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        skipped = SKIPPED_FOLDERS.intersection(inside.parts[:-1]) or inside.parts[0].startswith("config-")
        if not skipped and inside.as_posix() not in SKIPPED_FILES and not inside.name.startswith("_sysconfigdata"):
            modules.append((inside.as_posix(), path.stat().st_size))
    if not modules:
        raise UserError(
            f"this Python has no source code of its library at {root}",
            hint='name a corpus instead: [[data.sources]] kind = "files"',
        )
    topics = [(f"help:{name}", len(text)) for name, text in sorted(_topics().items())]
    return modules + topics + [(f"module:{name}", 8192) for name in _compiled()]


def read(name: str) -> Document | None:
    """The document of that name; None for generated tables, which teach nothing."""
    kind, _, rest = name.partition(":")
    if kind == "help":
        return Document(_topics()[rest], name, language="en")
    if kind == "module":
        return Document(_documentation(rest), name)
    with tokenize.open(_root() / name) as file:  # honours the encoding that the module declares
        text = file.read()
    return None if "generated from" in text[:400] else Document(text, name)


def _root() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _topics() -> dict[str, str]:
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    return topics


def _compiled() -> list[str]:
    """Public modules of the standard library that are machine code."""
    found = []
    for name in sorted(sys.stdlib_module_names):
        if name.startswith("_"):
            continue
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            continue
        origin = spec.origin if spec else None
        if origin == "built-in" or (origin or "").endswith((".so", ".pyd")):
            found.append(name)
    return found


def _documentation(name: str) -> str:
    """Signatures and docstrings of a compiled module, in the order of their names."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return ""
    lines = [f"Help on module {name}", "", inspect.cleandoc(module.__doc__ or ""), ""]
    for member, value in sorted(vars(module).items()):
        if not member.startswith("_") and callable(value):
            lines += _entry(f"{name}.{member}", value)
            if inspect.isclass(value):
                for method, function in sorted(vars(value).items()):
                    if not method.startswith("_") and callable(function):
                        lines += _entry(f"{name}.{member}.{method}", function)
    return "\n".join(lines)


def _entry(name: str, value: object) -> Iterator[str]:
    if not isinstance(text := getattr(value, "__doc__", None), str) or not text.strip():
        return
    try:
        signature = str(inspect.signature(value))  # type: ignore[arg-type]  # whatever has none raises
    except (TypeError, ValueError):
        signature = ""
    if " at 0x" in signature:  # the address of a default value would differ from run to run
        signature = ""
    yield name + signature
    yield from ("    " + line for line in inspect.cleandoc(text).splitlines())
    yield ""
