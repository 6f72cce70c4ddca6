"""Cases: pieces of Python that must run without an error, taken from a task's own examples or from a test file."""

from __future__ import annotations

import ast
import doctest
import re
import sys
import sysconfig
from importlib.machinery import PathFinder

_STATED = re.compile(
    r"\s*`?\s*(?:==|=>|->|→|=|:|(?:should |must |will )?(?:return|give|be|equal|yield|produce)s?|is"
    r"|renvoie|retourne|donne|vaut)\s*:?\s*`?"
)
_CALL = re.compile(r"(?<![\w.])[A-Za-z_]\w*\(")


def examples_of(text: str) -> list[str]:
    """The examples that a task states, as asserts: `assert` lines, doctests, and calls such as `double(3) == 6`.

    Only what parses and states a literal result is taken; prose is left alone.
    """
    cases = [*_asserts(text), *_doctests(text)]
    rest = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("assert ", ">>>", "...")))
    return list(dict.fromkeys([*cases, *_stated(rest)]))


def cases_of(tests: str) -> list[str] | None:
    """The cases of a test file of plain asserts, each with the lines that prepare it; None: it is one for pytest.

    Raises:
        SyntaxError: it does not parse.
    """
    body = ast.parse(tests).body
    if any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in body):
        return None
    prepare: list[str] = []
    cases: list[str] = []
    for node in body:
        if isinstance(node, ast.Assert):
            cases.append("\n".join([*prepare, ast.unparse(node)]))
        else:
            prepare.append(ast.unparse(node))
    return cases or None


def asserts_in(answer: str) -> list[str]:
    """Those lines of a model's answer that are asserts of an equality, or doctests."""
    return list(dict.fromkeys([*_asserts(answer), *_doctests(answer)]))


def call_of(case: str) -> str:
    """The call whose result a case of one equality states; an empty string when it is none."""
    match ast.parse(case).body:
        case [ast.Assert(test=ast.Compare(left=ast.Call() as call, ops=[ast.Eq()]))]:
            return ast.unparse(call)
    return ""


def module_of(tests: str) -> str:
    """The module that a test file imports the code from: the first that is installed nowhere; `solution` if none."""
    paths = sysconfig.get_paths()
    installed = [paths["purelib"], paths["platlib"]]
    for node in ast.walk(ast.parse(tests)):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom) and node.module and not node.level
            else []
        )
        for name in names:
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and PathFinder.find_spec(top, installed) is None:
                return name
    return "solution"


def _asserts(text: str) -> list[str]:
    found = []
    for line in text.splitlines():
        line = line.strip().lstrip("-*• ").strip("`")
        if line.startswith("assert ") and (tree := _parsed(line)) is not None:
            # Comments and messages go: what is run is what was stated.
            found += [ast.unparse(ast.Assert(node.test)) for node in tree.body if isinstance(node, ast.Assert)]
    return found


def _doctests(text: str) -> list[str]:
    try:
        examples = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return []
    prepare: list[str] = []
    cases = []
    for example in examples:
        source, want = example.source.strip(), example.want.strip()
        if _literal(want.split("\n")[0]):  # what follows without a blank line is prose
            want = want.split("\n")[0]
        tree = _parsed(source)
        if tree is None:
            continue
        if not want or not isinstance(tree.body[-1], ast.Expr):
            prepare.append(source)
            continue
        expected = want if _literal(want) else repr(want)
        left = ast.unparse(tree.body[-1])
        left = left if _literal(want) else f"repr({left})"
        cases.append("\n".join([*prepare, f"assert {left} == {expected}"]))
    return cases


def _stated(text: str) -> list[str]:
    cases = []
    for start in _CALL.finditer(text):
        call = _balanced(text[start.start() :])
        after = text[start.start() + len(call) :]
        stated = _STATED.match(after)
        if not call or not stated or stated.end() == 0:
            continue
        value = _leading_literal(after[stated.end() :].split("\n")[0])
        if value and (tree := _parsed(call)) is not None and _literal_arguments(tree):
            cases.append(f"assert {call} == {value}")
    return cases


def _balanced(text: str) -> str:
    """The shortest beginning that is a whole expression ending in a parenthesis."""
    for end in [match.end() for match in re.finditer(r"\)", text[:400])]:
        if _parsed(text[:end]) is not None:
            return text[:end]
    return ""


def _leading_literal(text: str) -> str:
    """The longest beginning that is a literal and ends where a word does."""
    for end in range(min(len(text), 200), 0, -1):
        found = text[:end].strip()
        if (end == len(text) or not re.match(r"\w|\.\d", text[end:])) and found[-1:] not in ".," and _literal(found):
            return found
    return ""


def _literal_arguments(tree: ast.Module) -> bool:
    match tree.body:
        case [ast.Expr(value=ast.Call(args=args, keywords=keywords))]:
            return all(_literal(ast.unparse(a)) for a in [*args, *(k.value for k in keywords)])
    return False


def _literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
