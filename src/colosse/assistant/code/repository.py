"""A folder of code as a run sees it: its files, which of them may be changed, which of them an error speaks of."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from colosse.assistant.code.languages import language_of_file
from colosse.assistant.sandbox import WORKDIR
from colosse.core.errors import ConflictError, NotFoundError, TooLargeError, UserError
from colosse.core.files import write_atomic

MAX_FILES = 3000
MAX_FILE_BYTES = 1 << 20
"""Larger files are left out: weights, recordings."""
MAX_BYTES = 48 << 20
_NEVER = {
    ".git",
    ".hg",
    ".svn",
    "node_modules",
    "__pycache__",
    ".venv",
    "venv",
    ".tox",
    ".mypy_cache",
    "target",
    "dist",
}
_TESTS = re.compile(
    r"(^|/)(tests?|spec|__tests__|testing)/|(^|/)(test_[^/]*|conftest)\.py$|_tests?\.\w+$|\.(test|spec)\.\w+$"
)
_SETTINGS = re.compile(
    r"(^|/)(pyproject\.toml|setup\.(py|cfg)|tox\.ini|pytest\.ini|noxfile\.py|Makefile|package(-lock)?\.json|Cargo\.toml"
    r"|go\.(mod|sum)|CMakeLists\.txt|sitecustomize\.py|usercustomize\.py)$|^\."
)
_PLACE = re.compile(r"""File "([^"]+)", line \d+|(?<![\w./-])([\w./-]+\.\w{1,4}):\d+""")


class Repository(NamedTuple):
    """What was read: `files` by path below `root`, and the paths `writable` that a fix may change."""

    root: Path
    files: dict[str, bytes]
    writable: list[str]


def protected(path: str) -> bool:
    """Whether a path is a test, or settings that say which tests are run: a fix never changes these."""
    return bool(_TESTS.search(path) or _SETTINGS.search(path))


def read(paths: Iterable[Path], where: Path | None = None) -> Repository:
    """Read the folder that files or folders to be fixed stand in.

    Args:
        paths: files (these alone may be changed) or folders (every file of code in them, but tests).
        where: the folder that commands run in; by default the working directory if it holds the paths, else the folder
            given, or that of the first file.

    Raises:
        NotFoundError: no such file.
        UserError: files that stand in no common folder, or that are tests.
        TooLargeError: more files than a sandbox should be given.
    """
    given = [Path(os.path.normpath(Path.cwd() / path)) for path in paths]
    for path in given:
        if not path.exists():
            raise NotFoundError(f"no such file: {path}")
    here = where or Path.cwd()
    root = here if all(path.is_relative_to(here) for path in given) else None
    root = root or (given[0] if given[0].is_dir() else given[0].parent)
    if not all(path.is_relative_to(root) for path in given):
        raise UserError(f"not all files are in {root}", hint="run this in the folder that holds them")
    files: dict[str, bytes] = {}
    total = 0
    for name in [*_tracked(root), *(p.relative_to(root).as_posix() for p in given if p.is_file())]:
        path = root / name
        if name in files or path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            continue
        files[name] = path.read_bytes()
        total += len(files[name])
        if len(files) > MAX_FILES or total > MAX_BYTES:
            raise TooLargeError(
                f"{root} holds more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB",
                hint="run this in the folder of the project, or name a smaller folder",
            )
    wanted = [path.relative_to(root).as_posix() for path in given if path.is_file()]
    if tests := [name for name in wanted if protected(name)]:
        raise UserError(f"{tests[0]} is a test or a setting, which a fix never changes", hint="name the code it tests")
    for name in wanted:
        if name not in files:
            raise UserError(f"{root / name} is a link, or larger than {MAX_FILE_BYTES >> 20} MiB", hint="name the file")
        if not _is_text(files[name]):
            raise UserError(f"{root / name} is not UTF-8 text", hint="save it as UTF-8")
    folders = [path.relative_to(root).as_posix() for path in given if path.is_dir()]
    inside = [
        name
        for name in files
        if any(folder in (".", *map(str, PurePosixPath(name).parents)) for folder in folders)
        and language_of_file(name)
        and not protected(name)
        and _is_text(files[name])
    ]
    return Repository(root, files, list(dict.fromkeys([*wanted, *inside])))


def apply(repository: Repository, changed: Mapping[str, str]) -> None:
    """Write the changed files, each at once, and none if one is no longer what was read.

    Raises:
        ConflictError: a file was changed meanwhile.
    """
    for name in changed:
        path = repository.root / name
        if not path.is_file() or path.read_bytes() != repository.files[name]:
            raise ConflictError(f"{path} was changed meanwhile: nothing is written", hint="run it again")
    for name, text in changed.items():
        path = (repository.root / name).resolve()
        mode = path.stat().st_mode
        write_atomic(path, text.encode())
        path.chmod(mode)


def relevant(files: Mapping[str, str], writable: Iterable[str], output: str) -> list[str]:
    """The writable files by how likely the error is in them, those without any sign of it left out.

    Args:
        files: path to text of all files of code.
        writable: those that may be changed.
        output: what the failing command printed: the places of its tracebacks count most, the last highest; then what
            the failing tests import, then files whose names stand in it.
    """
    writable = list(writable)
    points = dict.fromkeys(writable, 0.0)
    mentioned = [name for match in _PLACE.finditer(output) if (name := _known(match[1] or match[2], files))]
    for rank, name in enumerate(mentioned, 1):
        if name in points:
            points[name] += 2 + rank / len(mentioned)
    tests = [name for name in files if protected(name) and (name in mentioned or name in output)]
    near = [*tests, *(name for name in dict.fromkeys(mentioned) if name in points)]
    for name in near:
        for imported in _imports(name, files):
            if imported in points:
                points[imported] += 1.5
                for second in _imports(imported, files):
                    if second in points:
                        points[second] += 0.5
    for name in writable:
        if PurePosixPath(name).stem in re.findall(r"\w+", output):
            points[name] += 0.5
    found = sorted((name for name in writable if points[name]), key=lambda name: -points[name])
    return found or writable


def _tracked(root: Path) -> list[str]:
    """Git's files (also new ones that it does not ignore), or else all but hidden and installed ones."""
    # The repository's own settings must not run programs.
    argv = ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(argv, cwd=root, capture_output=True, check=True, timeout=60).stdout
        return [os.fsdecode(name) for name in listed.split(b"\0") if name]
    except (OSError, subprocess.SubprocessError):
        pass
    names: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in _NEVER and not f.startswith("."))
        names += [(Path(folder) / file).relative_to(root).as_posix() for file in sorted(files)]
        if len(names) > 2 * MAX_FILES:
            break
    return names


def _known(mentioned: str, files: Mapping[str, str]) -> str:
    name = mentioned.removeprefix(f"{WORKDIR}/").removeprefix("./")
    return name if name in files else ""


def _imports(name: str, files: Mapping[str, str]) -> list[str]:
    """The files of the same folder tree that a Python file imports."""
    if not name.endswith(".py"):
        return []
    try:
        tree = ast.parse(files[name])
    except (SyntaxError, ValueError):
        return []
    folder = PurePosixPath(name).parent
    modules: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = list(folder.parts[: len(folder.parts) - node.level + 1]) if node.level else []
            base = ".".join([*above, node.module or ""]).strip(".")
            modules += [base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)]
    found = []
    for module in modules:
        path = module.replace(".", "/")
        for place in (path, f"src/{path}", (folder / path).as_posix()):
            found += [name for name in (f"{place}.py", f"{place}/__init__.py") if name in files]
    return list(dict.fromkeys(found))


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data
