"""The form of code, judged without running it: its block in an answer, its syntax, the names it defines."""

from __future__ import annotations

import ast
import json
import re
import tomllib

from colosse.assistant.skill import Check

BLOCK = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


def extract(text: str) -> tuple[str, str]:
    """(code, what was said after it, or else before) of an answer: its longest code block, or all of it without one."""
    blocks = list(BLOCK.finditer(text))
    if not blocks:
        return text.strip(), ""
    best = max(blocks, key=lambda block: len(block[3]))
    around = (BLOCK.sub("", part).strip() for part in (text[best.end() :], text[: best.start()]))
    return best[3].strip("\n") + "\n", re.sub(r"\s*\n\s*", " ", next(filter(None, around), ""))


def code_in(text: str, language: str) -> tuple[str, str]:
    """As `extract`, but no code, and all as what was said, when there is no block and it does not parse as code."""
    code, note = extract(text)
    parses = [check.passed for check in check_syntax(code, language)]
    if not BLOCK.search(text) and parses != [True]:
        return "", re.sub(r"\s*\n\s*", " ", code)
    return code, note


def check_syntax(code: str, language: str) -> list[Check]:
    """Whether `code` parses, for the languages that can be parsed here; nothing is run."""
    try:
        match language:
            case "python":
                ast.parse(code)
            case "json":
                json.loads(code)
            case "toml":
                tomllib.loads(code)
            case _:
                return []
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [Check(name="syntax", passed=False, detail=_one_line(error))]
    return [Check(name="syntax", passed=True)]


def same_names(source: str, code: str, language: str) -> list[Check]:
    """Whether what a Python file defines at its top level is still there."""
    if language != "python":
        return []
    try:
        missing = sorted(defined(source) - defined(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # of the source: that may be the bug
        return []
    return [Check(name="names", passed=not missing, detail=", ".join(missing[:5]))]


def defined(code: str) -> set[str]:
    """Public functions and classes at the top level of a Python file.

    Raises:
        SyntaxError: it does not parse.
    """
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.parse(code).body if isinstance(node, kinds) and not node.name.startswith("_")}


def _one_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    return " ".join(str(error).split()) or type(error).__name__
