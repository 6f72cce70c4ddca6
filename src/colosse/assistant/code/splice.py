"""A part of a Python file put into the file: models often answer with the one function that they changed."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Mapping, Sequence


def whole(text: str, codes: Sequence[str]) -> str:
    """The file that code blocks make of `text`: one of them, or `text` with what they define in place of its own.

    Args:
        text: the file as it is.
        codes: code blocks of an answer, one at least; copies of the file as it is are passed over.
    """
    new = [code for code in codes if code.strip() != text.strip()] or list(codes[:1])
    old, trees = _parsed(text), [_parsed(code) for code in new]
    if old is None or not all(trees):  # of another language, or broken: the longest is meant
        return _ended(max(new, key=len))
    defined = _defined(old)
    if complete := [code for code, tree in zip(new, trees, strict=True) if tree and defined <= _defined(tree)]:
        return _ended(_with_values(text, complete[-1]) if defined else complete[-1])
    for code in new:
        text = _spliced(text, code)
    return text


def _with_values(text: str, code: str) -> str:
    """`code` with the imports and values of `text` that it leaves out: models leave out what they did not change."""
    new = ast.parse(code)
    lines, missing = code.split("\n"), []
    for node in ast.parse(text).body:
        if (names := _names(node)) and not isinstance(node, _DEFINITIONS) and not set(names) <= _bound(new):
            missing += text.split("\n")[_start(node) : node.end_lineno]
    first = (node for node in new.body if not _leads(node))
    at = _start(next(first, new.body[-1]))
    return "\n".join([*lines[:at], *missing, *lines[at:]])


def _spliced(text: str, code: str) -> str:
    """`text` with the definitions, values and imports of `code`; new ones stand above its first definition."""
    old, new = ast.parse(text), ast.parse(code)
    places, bound = dict(_places(old)), _bound(old)
    lines = text.split("\n")
    swaps: list[tuple[int, int, list[str]]] = []
    more: list[str] = []
    for name, node in _parts(new, places):
        said = textwrap.dedent("\n".join(code.split("\n")[_start(node) : node.end_lineno])).split("\n")
        methods = [place for place in places if place.endswith(f".{name}")]
        owner = places.get(name.partition(".")[0])
        if name in places or (len(methods) == 1 and name not in bound):
            there = places[name if name in places else methods[0]]
            swaps.append((_start(there), there.end_lineno or 0, _indented(said, there.col_offset)))
        elif owner is not None and isinstance(owner, ast.ClassDef):
            end = owner.end_lineno or 0
            swaps.append((end, end, ["", *_indented(said, owner.body[0].col_offset)]))
        elif not set(_names(node)) <= bound:
            more += said if isinstance(node, ast.Import | ast.ImportFrom) else [*said, "", ""]
    if more:
        first = next((_start(node) for node in old.body if isinstance(node, _DEFINITIONS)), len(lines))
        swaps.append((first, first, more))
    for start, end, said in sorted(swaps, key=lambda swap: swap[:2], reverse=True):
        lines[start:end] = said
    return "\n".join(lines)


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _parts(new: ast.Module, places: Mapping[str, ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """(name, what it is) to be put in: a class by its methods, when it holds some of those of the file's alone."""
    for node in new.body:
        name = next(iter(_names(node)), "")
        if isinstance(node, ast.ClassDef) and name in places:
            inner = {f"{name}.{method.name}": method for method in node.body if isinstance(method, _DEFINITIONS)}
            if inner and not {place for place in places if place.startswith(f"{name}.")} <= inner.keys():
                yield from inner.items()
                continue
        if name:
            yield name, node


def _places(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            for name in _names(node):
                yield name, node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{m.name}", m) for m in node.body if isinstance(m, _DEFINITIONS))


def _defined(tree: ast.Module) -> set[str]:
    """Functions, classes and methods of a file."""
    return {name for name, node in _places(tree) if isinstance(node, _DEFINITIONS)}


def _leads(node: ast.stmt) -> bool:
    """Whether a statement must stay first: the documentation, what is imported from `__future__`."""
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return text or (isinstance(node, ast.ImportFrom) and node.module == "__future__")


def _bound(tree: ast.Module) -> set[str]:
    """The names that a file has at its top level, and those of its methods."""
    return {name for node in tree.body for name in _names(node)} | {name for name, _ in _places(tree)}


def _names(node: ast.stmt) -> list[str]:
    """The names that a statement gives something to."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Import(names=names):
            return [alias.asname or alias.name.partition(".")[0] for alias in names]
        case ast.ImportFrom(names=names, module=module):
            return [f"{module}.*" if alias.name == "*" else alias.asname or alias.name for alias in names]
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _start(node: ast.stmt) -> int:
    """Index of its first line, decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1


def _indented(lines: Sequence[str], by: int) -> list[str]:
    return [" " * by + line if line.strip() else line for line in lines]


def _ended(code: str) -> str:
    return code if code.endswith("\n") else f"{code}\n"


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
