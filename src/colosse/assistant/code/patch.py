"""Edits that a model proposes, put into files in spite of what models get wrong: blanks, indentation, left-out lines.

An edit is the whole file in a code block, single functions or classes of it (Python), a unified diff, or
`<<<<<<< SEARCH` / `=======` / `>>>>>>> REPLACE`. What is searched for must be found at one place: exactly, else but for
blanks at the ends of lines, else but for one shift of its indentation; lines of `...` stand for lines that were left
out. Nothing is ever put at a place that only looks alike.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from colosse.assistant.code import splice
from colosse.assistant.code.form import BLOCK

_AT = re.compile(r"^@@[^\n]*$", re.MULTILINE)
_HUNK = re.compile(r"^<{5,9} ?SEARCH[ \t]*\n(.*?)^={5,9}[ \t]*\n(.*?)^>{5,9} ?REPLACE[ \t]*$", re.MULTILINE | re.DOTALL)
_ELLIPSIS = re.compile(r"\s*(?:#|//|/\*|--|<!--)?\s*(?:\.{3}|…)[^\w]*(?:\b(?:existing|rest|unchanged)\b.*)?$")
NEAREST_LINES = 12
"""Lines of the file that are shown when an edit does not match."""
SAME_FILE = 0.6
"""Share of lines that a whole file without a name must have in common with the one that it replaces."""


class PatchError(ValueError):
    """An edit that does not fit the file; the message tells the model why, with the nearest lines."""


class Edit(NamedTuple):
    """One change: `search` becomes `replace`; without `search`, `replace` is the whole file."""

    path: str
    search: str
    replace: str


def parse_edits(answer: str, files: Mapping[str, str]) -> list[Edit]:
    """The edits in what a model wrote.

    Args:
        answer: its text.
        files: path to text of the files that may be changed.

    Raises:
        PatchError: no edit, or one whose file is not said and cannot be told.
    """
    hunks = list(_HUNK.finditer(answer))
    if hunks:
        return [Edit(_path_of(answer[: h.start()], files, h[1]), h[1], h[2]) for h in hunks]
    if edits := _of_diff(answer, files):
        return edits
    blocks = list(BLOCK.finditer(answer))
    if len(files) == 1:
        ((path, text),) = files.items()
        codes = [block[3] for block in blocks] or [answer.strip()]
        return [Edit(path, "", splice.whole(text, codes))]
    if not blocks:
        raise PatchError("there was no edit and no code block")
    found = [(_path_of(answer[: b.start(3)], files, b[3], whole=True), b[3]) for b in blocks]
    return [Edit(path, "", splice.whole(files[path], [code])) for path, code in found]


def _of_diff(answer: str, files: Mapping[str, str]) -> list[Edit]:
    """The hunks of a unified diff as edits; the numbers of their lines, which models get wrong, do not matter."""
    starts = list(_AT.finditer(answer))
    if not any(line.startswith(("+++", "---")) for line in answer.splitlines()):
        return []
    edits = []
    for start, after in zip(starts, [*starts[1:], None], strict=True):
        before, lines = answer[: start.start()], answer[start.end() + 1 : after.start() if after else None].split("\n")
        body = list(itertools.takewhile(lambda line: not line.startswith(("```", "diff ", "--- ")), lines))
        while body and not body[-1].strip():
            body.pop()
        old, new = ([line[1:] for line in body if line[:1] in ("", " ", sign)] for sign in "-+")
        search, replace = ("".join(f"{line}\n" for line in half) for half in (old, new))
        if search.strip() and search != replace:
            named = re.findall(r"^\+\+\+ .*$", before, re.MULTILINE)
            edits.append(Edit(_path_of(named[-1] if named else "", files, search), search, replace))
    return edits


def apply_edits(files: Mapping[str, str], edits: Sequence[Edit]) -> dict[str, str]:
    """The changed files, path to new text; those that stay the same are left out.

    Raises:
        PatchError: an edit does not fit.
    """
    changed = dict(files)
    for edit in edits:
        changed[edit.path] = apply(changed[edit.path], edit.search, edit.replace) if edit.search else edit.replace
    return {path: text for path, text in changed.items() if text != files[path]}


def apply(text: str, search: str, replace: str) -> str:
    """`text` with its one place of `search` replaced.

    Raises:
        PatchError: `search` is nowhere or at several places; `text` is then as it was.
    """
    lines = text.split("\n")
    wanted, new = _lines(search), _lines(replace)
    if not any(line.strip() for line in wanted):
        raise PatchError("an edit searched for nothing")
    for find in (_exact, _trimmed, _shifted):
        places = find(lines, wanted)
        if len(places) > 1:
            raise PatchError(f"these lines are at {len(places)} places; show more around them:\n{search.rstrip()}")
        if places:
            (start, shift), end = places[0], places[0][0] + len(wanted)
            return _joined(lines, start, end, [shift(line) for line in new])
    if any(_ELLIPSIS.match(line) for line in wanted):
        start, end, filled = _elided(lines, wanted, new, search)
        return _joined(lines, start, end, filled)
    near = _nearest(lines, wanted)
    raise PatchError(f"these lines are not in the file:\n{search.rstrip()}\nThe nearest are:\n{near}")


Place = tuple[int, Callable[[str], str]]
"""Where the lines are, and what makes a new line fit there."""


def _exact(lines: Sequence[str], wanted: Sequence[str]) -> list[Place]:
    return [(at, str) for at in _windows(lines, wanted) if list(lines[at : at + len(wanted)]) == list(wanted)]


def _trimmed(lines: Sequence[str], wanted: Sequence[str]) -> list[Place]:
    bare = [line.rstrip() for line in wanted]
    found = [at for at in _windows(lines, wanted) if [line.rstrip() for line in lines[at : at + len(bare)]] == bare]
    return [(at, str) for at in found]


def _shifted(lines: Sequence[str], wanted: Sequence[str]) -> list[Place]:
    """Places that differ by the same indentation on every line."""
    bare = [line.strip() for line in wanted]
    places = []
    for at in _windows(lines, wanted):
        there = lines[at : at + len(bare)]
        if [line.strip() for line in there] == bare and (shift := _shift(there, wanted)):
            places.append((at, shift))
    return places


def _shift(there: Sequence[str], wanted: Sequence[str]) -> Callable[[str], str] | None:
    pairs = {(_indent(a), _indent(b)) for a, b in zip(there, wanted, strict=True) if a.strip()}
    have, want = next(iter(pairs))
    if have.endswith(want):
        more = have[: len(have) - len(want)]
        if all(a == more + b for a, b in pairs):
            return lambda line: more + line if line.strip() else line
    if want.endswith(have):
        less = want[: len(want) - len(have)]
        if all(b == less + a for a, b in pairs):
            return lambda line: line.removeprefix(less)
    return None


def _elided(lines: Sequence[str], wanted: Sequence[str], new: Sequence[str], search: str) -> tuple[int, int, list[str]]:
    """(start, end, new lines) for a search with `...` in it: each part is found after the one before."""
    parts, news = _parts(wanted), _parts(new)
    if len(parts) != len(news):
        raise PatchError("the number of `...` lines must be the same in both halves of an edit")
    filled: list[str] = []
    start = end = -1
    for part, made in zip(parts, news, strict=True):
        if not part:
            raise PatchError("`...` must stand between lines of the file")
        places = [place for place in _trimmed(lines, part) if place[0] >= max(end, 0)]
        if not places or (start < 0 and len(places) > 1):
            raise PatchError(f"not at one place of the file:\n{search.rstrip()}\nThe nearest:\n{_nearest(lines, part)}")
        at = places[0][0]
        if start < 0:
            start = at
        else:
            filled += lines[end:at]
        filled += made
        end = at + len(part)
    return start, end, filled


def _parts(lines: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for line in lines:
        if _ELLIPSIS.match(line):
            parts.append([])
        else:
            parts[-1].append(line)
    return parts


def _joined(lines: Sequence[str], start: int, end: int, new: Sequence[str]) -> str:
    ending = "\r" if lines[start].endswith("\r") else ""
    return "\n".join([*lines[:start], *(line + ending for line in new), *lines[end:]])


def _lines(text: str) -> list[str]:
    text = text.replace("\r\n", "\n")
    return text.removesuffix("\n").split("\n") if text else []


def _windows(lines: Sequence[str], wanted: Sequence[str]) -> range:
    return range(len(lines) - len(wanted) + 1)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _nearest(lines: Sequence[str], wanted: Sequence[str]) -> str:
    """The part of the file that shares most lines with what was searched for."""
    bare = [line.strip() for line in wanted if line.strip()]
    size = min(max(len(wanted), 1), NEAREST_LINES)

    def alike(at: int) -> float:
        there = [line.strip() for line in lines[at : at + size]]
        return difflib.SequenceMatcher(None, "\n".join(there), "\n".join(bare), autojunk=False).ratio()

    # The whole comparison is slow: only windows that share words with the search are looked at closely.
    words = set(re.findall(r"\w+", " ".join(bare)))
    starts = range(max(1, len(lines) - size + 1))
    close = sorted(starts, key=lambda at: -len(words & set(re.findall(r"\w+", " ".join(lines[at : at + size])))))[:20]
    best = max(close, key=alike)
    return "\n".join(lines[best : best + size])


def _path_of(before: str, files: Mapping[str, str], code: str, *, whole: bool = False) -> str:
    """The file that the text before an edit names last, on one of its three last lines; else the one it must be of."""
    for line in reversed([line for line in before.splitlines() if line.strip()][-3:]):
        for word in re.findall(r"[\w./\\+-]+", line)[::-1]:
            named = [path for path in files if path == word.removeprefix("./") or path.endswith(f"/{word}")]
            if len(named) == 1:
                return named[0]
    if len(files) == 1:
        return next(iter(files))
    if whole:
        lines = code.splitlines()
        likeness = {p: difflib.SequenceMatcher(None, t.splitlines(), lines).ratio() for p, t in files.items()}
        fitting = [path for path, ratio in likeness.items() if ratio >= SAME_FILE]
    else:
        fitting = [path for path, text in files.items() if code.strip() and code.strip() in text]
    if len(fitting) == 1:
        return fitting[0]
    raise PatchError(f"an edit does not say its file; name one of: {', '.join(files)}")
