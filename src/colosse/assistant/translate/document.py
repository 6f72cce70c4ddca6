"""A document to be translated: its text as it is, and the places in it that are text for people.

A format is read into `Slot`s. What stands between slots is never touched, so writing back a document whose translations
equal their sources gives the same bytes. Inside of a slot, what must survive letter for letter (code, tags, links) is
`Kept`; the model sees a short token in its place.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from colosse.core.errors import UserError

Role = Literal["word", "mark", "step", "open", "close", "soft", "hard"]
"""What a kept span is to the sentence: a word of it (code, a placeholder), a mark beside it (an emoji, an empty tag), a
change that keeps its order among those of its kind (`step`: formatting in Word), the beginning or the end of a span
(bold, a link's text), a line break that may move between words (`soft`), or a boundary that no sentence crosses
(`hard`)."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A span that is written back as it is.

    Attributes:
        raw: as it stands in the document.
        role: what it is to the sentence.
        in_text: it was found in decoded text, and is encoded again as text is.
        texts: places within it that are translated by themselves, such as the title of a link.
    """

    raw: str
    role: Role = "word"
    in_text: bool = False
    texts: tuple[Slot, ...] = field(default=(), compare=False)

    @property
    def frame(self) -> str:
        """The span without its texts."""
        return "…".join(_between(self.raw, self.texts))


Part = str | Kept
"""Text as the reader reads it (entities and escapes decoded), or a span that is kept."""


def as_it_is(text: str) -> str:
    """The encoding of formats that have none."""
    return text


@dataclass(frozen=True, slots=True)
class Slot:
    """A place of the document whose text is translated.

    Attributes:
        start: where the place begins in the document's text.
        end: where it ends.
        parts: what it says; without parts changed, the place stays as it is.
        encode: makes text of the translation fit for the place.
        finish: makes the whole place of its encoded parts: quotes, line beginnings.
        note: what the document says to its translators here.
        apart: the place is not where the source stands, and is written also when both say the same.
    """

    start: int
    end: int
    parts: tuple[Part, ...]
    encode: Callable[[str], str] = as_it_is
    finish: Callable[[str], str] = as_it_is
    note: str = ""
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A document's text with its slots, in order and apart from each other.

    Attributes:
        text: the whole text.
        slots: its places to translate.
        title: what it is about, for the model.
    """

    text: str
    slots: tuple[Slot, ...]
    title: str = ""


_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def decoded(data: bytes) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its mark; the mark stays in the text.

    Raises:
        UserError: neither.
    """
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"this is not UTF-8 text (byte {error.start})", hint="convert it to UTF-8") from None
    if "\0" in text[:4096]:
        raise UserError("this is not text", hint="give a text file")
    return text


def encoded(data: bytes, text: str) -> bytes:
    """The text in the encoding of the file that it came from."""
    return text.encode(next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8"))


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of document.

    Attributes:
        name: of the option `--format`.
        suffixes: of its files.
        read: finds the slots; raises a UserError for what is not of this format.
        skeleton: all that must not change, for the comparison of a document with its translation; made from the slots
            where None.
        to_language: sets what the document says of its own language, given text, source code and target code.
        unpack: the text of a file's bytes.
        pack: the file of such a text, given the bytes that it came from.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[str], Source]
    skeleton: Callable[[str], list[str]] | None = None
    to_language: Callable[[str, str, str], str] = lambda text, source, target: text
    unpack: Callable[[bytes], str] = decoded
    pack: Callable[[bytes, str], bytes] = encoded


def written(source: Source, targets: Mapping[int, Sequence[Part]]) -> str:
    """The document's text with the parts of some slots, by index, in place of their own."""
    pieces: list[str] = []
    position = 0
    for index, slot in enumerate(source.slots):
        parts = targets.get(index)
        pieces.append(source.text[position : slot.start])
        if parts is None or (same_parts(parts, slot.parts) and not slot.apart):
            pieces.append(source.text[slot.start : slot.end])
        else:
            pieces.append(slot.finish("".join(_raw(part, slot) for part in parts)))
        position = slot.end
    return "".join([*pieces, source.text[position:]])


def _raw(part: Part, slot: Slot) -> str:
    if isinstance(part, str):
        return slot.encode(part)
    return slot.encode(part.raw) if part.in_text else part.raw


def same_parts(one: Sequence[Part], other: Sequence[Part]) -> bool:
    """Whether both say the same."""
    return protected(joined(one)) == protected(joined(other))


def joined(parts: Sequence[Part]) -> list[Part]:
    """The parts with neighbouring texts as one, and none empty."""
    done: list[Part] = []
    for part in parts:
        if isinstance(part, str) and done and isinstance(done[-1], str):
            done[-1] += part
        elif part != "":
            done.append(part)
    return done


def plain(parts: Sequence[Part]) -> str:
    """The parts as a reader of the source file sees them."""
    return "".join(part.raw if isinstance(part, Kept) else part for part in parts)


def skeleton(form: Format, text: str) -> list[str]:
    """All of a document but its words: equal for a document and its translation.

    Spans that are kept inside of a sentence may change their places in it, and are compared as a set.
    """
    if form.skeleton is not None:
        return form.skeleton(text)
    source = form.read(text)
    return [*_between(source.text, source.slots), *("\n".join(kept_of(slot.parts)) for slot in source.slots)]


def _between(text: str, slots: Sequence[Slot]) -> list[str]:
    ends = [0, *(slot.end for slot in slots)]
    return [text[end:start] for end, start in zip(ends, [*(slot.start for slot in slots), len(text)], strict=True)]


def kept_of(parts: Sequence[Part]) -> list[str]:
    """What is kept in the parts, with how often."""
    kept = Counter(part.frame for part in protected(parts) if isinstance(part, Kept))
    return [f"{raw} × {times}" for raw, times in sorted(kept.items())]


_EMOJI = "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2190-\u21ff\u2300-\u23ff]"
_PROTECTED = re.compile(
    r"(?P<tag></?[A-Za-z0-9][^<>\n]*>)"
    r"|(?P<word>(?:https?|ftp)://[^\s<>\"')\]]*[^\s<>\"')\].,;:!?]"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
    r"|\{\{[^{}\n]*\}\}|\$t\([^()\n]*\)|[$#%]?\{[^{}\n]*\}"
    r"|%\([\w.]+\)[-+#0]*\d*(?:\.\d+)?[a-zA-Z]"
    r"|%(?:\d+\$)?[-+#0]*(?:\d+|\*)?(?:\.\d+)?(?:hh|h|ll|l|z|j|t|L)?[sdifuxXcegGopr@](?![A-Za-z])"
    r"|<\s?\d{1,4}\s?>)"
    rf"|(?P<mark>(?:[0-9#*]\ufe0f?\u20e3|{_EMOJI}[\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
    rf"(?:\u200d{_EMOJI}[\ufe0f\U0001f3fb-\U0001f3ff]*)*)+)"
)
"""What no translation may touch, in any format: tags, addresses, placeholders, emoji."""


def protected(parts: Sequence[Part]) -> list[Part]:
    """The parts with all that is protected in their texts made `Kept`."""
    done: list[Part] = []
    for part in parts:
        if isinstance(part, Kept):
            done.append(part)
            continue
        position = 0
        for found in _PROTECTED.finditer(part):
            done += [part[position : found.start()], Kept(found[0], _role(found), in_text=True)]
            position = found.end()
        done.append(part[position:])
    return joined(done)


def _role(found: re.Match[str]) -> Role:
    raw = found[0]
    if found["tag"] is None:
        return "mark" if found["mark"] is not None else "word"
    if raw.endswith("/>") or re.match(r"<(br|hr|img|wbr|input)\b", raw, re.IGNORECASE):
        return "mark"
    return "close" if raw.startswith("</") else "open"
