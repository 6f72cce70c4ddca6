"""Texts that a command is given: a file, standard input, or words on the command line."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from colosse.core.errors import NotFoundError, TooLargeError, UserError

MAX_BYTES = 16 << 20
"""A longer text is a mistake: at reading speed a model would need days."""
MAX_DOCUMENT_BYTES = 64 << 20
"""The same for a document, which is more than its text."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(source: str) -> str:
    """The text of a file, or of standard input for `-`.

    Raises:
        UserError: a folder, not text, empty, or standard input is a terminal.
        NotFoundError: no such file.
        TooLargeError: over `MAX_BYTES`.
    """
    return _decode(read_bytes(source, MAX_BYTES), "standard input" if source == "-" else source)


def read_bytes(source: str, most: int = MAX_DOCUMENT_BYTES) -> bytes:
    """What a file holds, or standard input for `-`; one byte more than `most` when it is longer.

    Raises:
        UserError: a folder, or standard input is a terminal.
        NotFoundError: no such file.
    """
    if source == "-":
        if sys.stdin.isatty():
            raise UserError("standard input is the terminal", hint="pipe a text in, or name a file")
        return sys.stdin.buffer.read(most + 1)
    path = Path(source)
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {source}", hint=_neighbour(path)) from None
    except IsADirectoryError:
        raise UserError(f"{source} is a folder", hint="name a file in it") from None
    except OSError as error:
        raise UserError(f"cannot read {source}: {error.strerror}") from None


def read_text_or_words(source: str) -> str:
    """The text of a file or of standard input; words that name no file are the text itself.

    Raises:
        As `read_text`; NotFoundError also for one word that looks like the path of a file.
    """
    if not source.strip():
        raise UserError("the text is empty")
    if source != "-" and not _exists(source) and (" " in source.strip() or not _like_a_path(source)):
        return source
    return read_text(source)


def piped() -> str:
    """What was piped into the command; an empty string when nothing was.

    Only pipes, sockets and files are read: a terminal, or a null device, has nothing to say.
    """
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):  # closed
        return ""
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
        return ""
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    return _decode(data, "standard input") if data.strip() else ""


def _decode(data: bytes, source: str) -> str:
    if b"\0" in data[:4096] and data[:2] not in _UTF16:
        raise UserError(f"{source} is not text", hint="give a text file")
    if len(data) > MAX_BYTES:
        raise TooLargeError(f"{source} is longer than {MAX_BYTES >> 20} MiB", hint="give it in parts")
    if not data.strip():
        raise UserError(f"{source} is empty", code="empty_input")
    try:
        return data.decode("utf-16" if data[:2] in _UTF16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{source} is not UTF-8 text (byte {error.start})", hint="convert it to UTF-8") from None


def _exists(source: str) -> bool:
    try:
        return Path(source).exists()
    except (OSError, ValueError):  # longer than a name can be
        return False


def _like_a_path(word: str) -> bool:
    path = Path(word)
    return path.parent != Path() or (bool(path.suffix) and not word.endswith(".") and len(path.suffix) <= 6)


def _neighbour(path: Path) -> str:
    from difflib import get_close_matches

    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    close = get_close_matches(path.name, names, n=1, cutoff=0.7)
    return f"did you mean {path.with_name(close[0])}?" if close else ""
