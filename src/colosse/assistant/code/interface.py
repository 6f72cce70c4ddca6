"""What a faster version of a Python file must keep, seen without running it: names, parameters, what it may import."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from colosse.assistant.skill import Check

HARMLESS = {
    *("__future__", "abc", "array", "bisect", "collections", "contextlib", "copy", "dataclasses", "decimal", "enum"),
    *("fractions", "functools", "heapq", "itertools", "math", "numbers", "operator", "re", "statistics", "string"),
    *("struct", "typing", "zlib"),
}
"""May be imported where the original does not: they compute, and reach neither the machine nor the clock."""

_CALLED = {"open", "exec", "eval", "compile", "globals", "vars"}
_REACHES = {
    *("__import__", "__builtins__", "__dict__", "__globals__", "__subclasses__", "__code__", "__closure__"),
    *("__loader__", "__spec__", "__traceback__", "f_back"),
}
"""Names, and calls, that lead out of the file: to files that outlive a run, to other modules, to who is calling."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def check_interface(source: str, code: str) -> list[Check]:
    """Whether `code` keeps the public names and parameters of `source`, and plays no tricks with what others own.

    Args:
        source: the original; it parses.
        code: the other version; it parses.
    """
    before, after = ast.parse(source), ast.parse(code)
    old, new = dict(_public(before)), dict(_public(after))
    missing = [name for name in old if name not in new]
    if _has_main(before) and not _has_main(after):
        missing.append('if __name__ == "__main__"')
    changed = [name for name, said in old.items() if name in new and new[name] != said]
    imports = sorted(_imports(after) - _imports(before) - HARMLESS)
    patched = sorted(_patched(after) - _patched(before))
    same = ast.dump(before) == ast.dump(after)
    return [
        Check(name="changed", passed=not same),
        Check(name="names", passed=not missing, detail=", ".join(missing[:5])),
        Check(name="parameters", passed=not changed, detail=", ".join(changed[:5])),
        Check(name="imports", passed=not imports, detail=", ".join(imports)),
        Check(name="patches", passed=not patched, detail=", ".join(patched)),
    ]


def changed_definitions(source: str, code: str, names: list[str]) -> list[str]:
    """Those of the functions and classes `names` (`f`, `Stack.push`) that are written differently in `code`."""
    before, after = (dict(_definitions(ast.parse(text))) for text in (source, code))
    return [name for name in names if before.get(name) != after.get(name)]


def public_names(source: str) -> list[str]:
    """Public functions and classes of a file."""
    return [name for name, _ in _public(ast.parse(source)) if "." not in name]


def _public(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Public functions, classes and methods with what their parameters are; annotations do not matter."""
    for node in tree.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield node.name, " ".join(map(ast.unparse, node.bases))
            for inner in node.body:
                if isinstance(inner, Function) and (inner.name == "__init__" or not inner.name.startswith("_")):
                    yield f"{node.name}.{inner.name}", _parameters(inner)
        else:
            yield node.name, _parameters(node)


def _parameters(node: Function) -> str:
    args = ast.parse(ast.unparse(node)).body[0].args  # type: ignore[attr-defined]
    for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]:
        if arg is not None:
            arg.annotation = None
    return f"{type(node).__name__} {ast.dump(args)}"


def _definitions(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef):
            yield node.name, ast.dump(node)
            for inner in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(inner, Function):
                    yield f"{node.name}.{inner.name}", ast.dump(inner)


def _has_main(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.If) and "__name__" in ast.dump(node.test) for node in tree.body)


def _imports(tree: ast.Module) -> set[str]:
    """Modules that are imported, and names that reach as far as an import does."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or ".").partition(".")[0])
        elif isinstance(node, ast.Name) and node.id in _REACHES:
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and node.attr in _REACHES:
            found.add(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLED:
            found.add(node.func.id)
    return found


def _patched(tree: ast.Module) -> set[str]:
    """Attributes of imported modules that are assigned: `time.perf_counter = ...`."""
    modules = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    modules |= set(sys.builtin_module_names) & _imports(tree)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            base = node.value
            if isinstance(base, ast.Name) and base.id in modules:
                found.add(f"{base.id}.{node.attr}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr" and node.args:
            target = node.args[0]
            if isinstance(target, ast.Name) and target.id in modules:
                found.add(f"setattr({target.id})")
    return found
