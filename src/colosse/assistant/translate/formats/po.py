"""Gettext catalogues: empty and fuzzy messages are translated; comments, flags, order and wrapping stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from colosse.assistant.translate.document import Format, Slot, Source, kept_of
from colosse.assistant.translate.formats.messages import message_parts
from colosse.assistant.translate.formats.text import has_letter
from colosse.core.errors import UserError

_FIELD = re.compile(
    r"^(?P<name>msgctxt|msgid_plural|msgid|msgstr)(?:\[(?P<index>\d+)\])?[ \t]+"
    r'(?P<strings>"(?:[^"\\\r\n]|\\.)*"(?:[ \t]*\r?\n[ \t]*"(?:[^"\\\r\n]|\\.)*")*)[ \t]*\r?$',
    re.MULTILINE,
)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LINE = re.compile(r'#.*|(?:msg(?:ctxt|id|id_plural|str(?:\[\d+\])?)[ \t]+)?"(?:[^"\\]|\\.)*"')
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_WRAP = 76


class _Message(NamedTuple):
    singular: str
    plural: str
    context: str
    comments: str
    targets: list[tuple[int, int, int]]
    """(index of the plural form, or -1; start and end of its strings)."""


def read(text: str) -> Source:
    """A slot for every `msgstr` that is empty or fuzzy.

    Raises:
        UserError: not a catalogue.
    """
    slots: list[Slot] = []
    quoted = _quoted(text)
    for message in _messages(text):
        fuzzy = re.search(r"^#,.*\bfuzzy\b", message.comments, re.MULTILINE)
        note = " ".join(re.findall(r"^#\.[ \t]*(.*?)\r?$", message.comments, re.MULTILINE))
        for index, start, end in message.targets:
            # A language with one form for all numbers is told the plural.
            said = message.plural if index > 0 or (index == 0 and len(message.targets) == 1) else message.singular
            if message.singular and has_letter(said) and (fuzzy or not _value(text[start:end])):
                note = f"{message.context} {note}".strip()
                slots.append(Slot(start, end, message_parts(said), finish=quoted, note=note))
    return Source(text, tuple(slots))


def _messages(text: str) -> Iterator[_Message]:
    found = list(_FIELD.finditer(text))
    for line in text.removeprefix("\ufeff").splitlines():
        if line.strip() and not _LINE.fullmatch(line.strip()):
            raise UserError(f"this is not a gettext catalogue: {line.strip()[:60]!r}", code="bad_po")
    if not any(field["name"] == "msgid" for field in found):
        raise UserError("this is not a gettext catalogue: there is no msgid in it", code="bad_po")
    message: _Message | None = None
    context, comments_from = "", 0
    for field in found:
        value = _value(field["strings"])
        if field["name"] == "msgctxt":
            context = value
        elif field["name"] == "msgid":
            if message:
                yield message
            message = _Message(value, "", context, text[comments_from : field.start()], [])
            context = ""
        elif message is None:
            raise UserError(f"this is not a gettext catalogue: {field['name']} before any msgid", code="bad_po")
        elif field["name"] == "msgid_plural":
            message = message._replace(plural=value)
        else:
            index = -1 if field["index"] is None else int(field["index"])
            message.targets.append((index, field.start("strings"), field.end("strings")))
        comments_from = field.end()
    if message:
        yield message


def _value(strings: str) -> str:
    raw = "".join(_STRING.findall(strings))
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), raw, flags=re.DOTALL)


class _quoted:
    """Writes a value as gettext does: several lines when it has line breaks or is long."""

    def __init__(self, text: str) -> None:
        self.newline = "\r\n" if "\r\n" in text else "\n"

    def __call__(self, value: str) -> str:
        lines: list[str] = []
        for line in value.splitlines(keepends=True):
            escaped = line.replace("\\", "\\\\").replace('"', '\\"')
            for letter, char in _ESCAPES.items():
                escaped = escaped.replace(char, f"\\{letter}")
            lines += _folded(escaped)
        if len(lines) <= 1:
            return f'"{"".join(lines)}"'
        return self.newline.join(['""', *(f'"{line}"' for line in lines)])


def _folded(escaped: str) -> list[str]:
    lines = [""]
    for word in re.findall(r"\S*\s*", escaped):
        if lines[-1] and len(lines[-1]) + len(word) > _WRAP:
            lines.append("")
        lines[-1] += word
    return lines


def _skeleton(text: str) -> list[str]:
    """Everything but the translations, and each translation that does not keep what its message has."""
    found: list[str] = []
    position = 0
    for message in _messages(text):
        for index, start, end in message.targets:
            found.append(text[position:start])
            target = _value(text[start:end])
            wanted = {tuple(kept_of(message_parts(said))) for said in (message.singular, message.plural)}
            if message.singular and target and tuple(kept_of(message_parts(target))) not in wanted:
                found.append(f"{message.singular[:60]!r} [{index}]")
            position = end
    return [*found, text[position:]]


def to_language(text: str, source: str, target: str) -> str:
    """The header says the language."""
    return re.sub(r'^("Language: )[^"\\]*', rf"\g<1>{target}", text, count=1, flags=re.MULTILINE)


FORMAT = Format("po", (".po", ".pot"), read, _skeleton, to_language)
