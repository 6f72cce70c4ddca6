"""Units of work: what the model is shown of a slot, and how its answer becomes the slot's parts again.

A kept span is shown as `<1>`, `<2>`: of `{1}`, `[1]`, `⟦1⟧` and `<1>`, this is the form whose spacing and order a model
of 1.5 billion parameters kept best. Line breaks that may move are shown as spaces and put back in proportion.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from colosse.assistant.chat import count_tokens
from colosse.assistant.checks import NUMBER
from colosse.assistant.pieces import split
from colosse.assistant.translate.document import Kept, Part, Slot, Source, joined, protected, written
from colosse.assistant.translate.formats.text import has_letter

UNIT_TOKENS = 160
"""Tokens of a unit, a few sentences: of longer ones small models drop some."""
_TOKEN = re.compile(r"<\s?(\d{1,4})\s?>")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")


@dataclass(frozen=True, slots=True)
class Unit:
    """What is asked of the model in one request.

    Attributes:
        slot: index of the slot in its document.
        head: parts before the text, such as a mark or an opening tag that spans all of it.
        text: what the model is shown.
        kept: `<n>` stands for `kept[n - 1]`.
        breaks: line breaks within the text, in order.
        widths: characters of the source's lines, one more than there are breaks.
        tail: parts after the text.
        inner: the parts that the text was made of.
        note: what the document says to translators.
    """

    slot: int
    head: tuple[Part, ...]
    text: str
    kept: tuple[Kept, ...]
    breaks: tuple[Kept, ...]
    widths: tuple[int, ...]
    tail: tuple[Part, ...]
    inner: tuple[Part, ...]
    note: str = ""

    @property
    def shape(self) -> str:
        """What an answer must fit besides the text: the roles of what is kept, and how many lines there are."""
        return " ".join([*(kept.role for kept in self.kept), str(len(self.widths))])

    @property
    def words(self) -> str:
        """The text without what is kept, for checks of its language and meaning."""
        return _TOKEN.sub(" ", self.text)


class Plan:
    """A document's slots, those within what others keep among them, as units in order.

    Args:
        source: the document.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.slots = [slot for outer in source.slots for slot in (outer, *_within(outer))]
        self._pieces = {id(slot): list(units_of(index, slot)) for index, slot in enumerate(self.slots)}
        self.units = [piece for pieces in self._pieces.values() for piece in pieces if isinstance(piece, Unit)]

    def targets(self, answer: Callable[[Unit], str]) -> dict[int, list[Part]]:
        """What stands in each of the document's slots, by index, when `answer` tells what was written for each unit."""
        return {index: self._target(slot, answer) for index, slot in enumerate(self.source.slots)}

    def _target(self, slot: Slot, answer: Callable[[Unit], str]) -> list[Part]:
        parts: list[Part] = []
        for piece in self._pieces[id(slot)]:
            if isinstance(piece, Unit):
                parts += restored(piece, answer(piece)) or [*piece.head, *piece.inner, *piece.tail]
            else:
                parts += piece
        for index, part in enumerate(parts):
            if isinstance(part, Kept) and part.texts:
                inner = {number: self._target(text, answer) for number, text in enumerate(part.texts)}
                parts[index] = replace(part, raw=written(Source(part.raw, part.texts), inner), texts=())
        return parts


def _within(slot: Slot) -> Iterator[Slot]:
    for part in slot.parts:
        if isinstance(part, Kept):
            yield from part.texts


def units_of(index: int, slot: Slot) -> Iterator[Unit | tuple[Part, ...]]:
    """A slot's units, and between them the parts that no model sees; all together are the slot."""
    sentence: list[Part] = []
    for part in [*protected(slot.parts), None]:
        if part is not None and not (isinstance(part, Kept) and part.role == "hard"):
            sentence.append(part)
            continue
        for piece in _short(sentence):
            yield _unit(index, piece, slot.note) or tuple(piece)
        sentence = []
        if part is not None:
            yield (part,)


def _short(parts: list[Part]) -> Iterator[list[Part]]:
    """The parts in pieces of at most `UNIT_TOKENS`, cut between sentences where there are some, never within a pair."""
    if sum(count_tokens(p) if isinstance(p, str) else 3 for p in parts) <= UNIT_TOKENS:
        yield parts
        return
    piece: list[Part] = []
    size = depth = 0
    for part in parts:
        if isinstance(part, Kept):
            depth += {"open": 1, "close": -1}.get(part.role, 0)
            piece.append(part)
            size += 3
            continue
        for sentence in _sentences(part) if depth <= 0 or size > 2 * UNIT_TOKENS else [part]:
            tokens = count_tokens(sentence)
            if piece and size + tokens > UNIT_TOKENS and _ends(piece[-1]):
                yield piece
                piece, size = [], 0
            piece.append(sentence)
            size += tokens
            if size > 2 * UNIT_TOKENS:
                yield piece
                piece, size = [], 0
    if piece:
        yield piece


def _sentences(text: str) -> list[str]:
    found: list[str] = []
    position = 0
    for end in re.finditer(r"[.!?…][\"'»”)]*\s+(?=[^\W\d_a-z])|[。！？]", text):
        found.append(text[position : end.end()])
        position = end.end()
    rest = [*found, text[position:]] if position < len(text) else found
    return [piece for sentence in rest for piece in split(sentence, UNIT_TOKENS)]


def _ends(part: Part) -> bool:
    return isinstance(part, Kept) or re.search(r"[.!?…。！？][\"'»”)]*\s*$|\s$", part) is not None or len(part) > 400


def _unit(slot: int, parts: Sequence[Part], note: str = "", *, with_numbers: bool = True) -> Unit | None:
    """The unit of some parts; None when they have no words."""
    inner = joined(parts)
    if not any(isinstance(part, str) and has_letter(part) for part in inner):
        return None
    head: list[Part] = []
    tail: list[Part] = []
    while inner:
        if isinstance(inner[0], str) and inner[0] != inner[0].lstrip():
            rest = inner[0].lstrip()
            head.append(inner[0][: len(inner[0]) - len(rest)])
            inner[:1] = [rest] if rest else []
        elif isinstance(inner[-1], str) and inner[-1] != inner[-1].rstrip():
            rest = inner[-1].rstrip()
            tail.insert(0, inner[-1][len(rest) :])
            inner[-1:] = [rest] if rest else []
        elif (first := _aside(inner, 0)) is not None:
            head.append(first)
            inner.pop(0)
        elif (last := _aside(inner, -1)) is not None:
            tail.insert(0, last)
            inner.pop()
        elif len(inner) > 2 and _partner(inner, 0) == len(inner) - 1:
            head.append(inner.pop(0))
            tail.insert(0, inner.pop())
        else:
            break
    shown, kept, breaks, widths = _shown(inner, with_numbers)
    return Unit(slot, tuple(head), shown, kept, breaks, widths, tuple(tail), tuple(inner), note)


def _aside(inner: list[Part], index: int) -> Part | None:
    """The first or last part when it is no part of the sentence: a mark, a line break, half a pair."""
    part = inner[index]
    if not isinstance(part, Kept) or part.role == "word":
        return None
    position = index % len(inner)
    return part if part.role in ("mark", "soft", "step") or _partner(inner, position) is None else None


def _partner(inner: Sequence[Part], index: int) -> int | None:
    """Where the pair of the opening or closing part at `index` has its other half."""
    part = inner[index]
    if not isinstance(part, Kept) or part.role not in ("open", "close"):
        return None
    step = 1 if part.role == "open" else -1
    depth, position = 0, index
    while 0 <= position < len(inner):
        other = inner[position]
        if isinstance(other, Kept) and other.role in ("open", "close"):
            depth += 1 if other.role == part.role else -1
            if depth == 0:
                return position
        position += step
    return None


def _shown(
    inner: Sequence[Part], with_numbers: bool
) -> tuple[str, tuple[Kept, ...], tuple[Kept, ...], tuple[int, ...]]:
    kept: list[Kept] = []
    breaks: list[Kept] = []
    lines = [""]
    for part in inner:
        if isinstance(part, Kept) and part.role == "soft":
            breaks.append(part)
            lines.append("")
            continue
        pieces: list[Part] = [part]
        if not with_numbers and isinstance(part, str):
            pieces = [Kept(p) if i % 2 else p for i, p in enumerate(re.split(f"({NUMBER.pattern})", part)) if p]
        for piece in pieces:
            if isinstance(piece, Kept):
                kept.append(piece)
                lines[-1] += f"<{len(kept)}>"
            else:
                lines[-1] += re.sub(r"\s*[\r\n]+\s*", " ", piece)
    glue = "" if any(_WIDE.match(line[-1:]) for line in lines) else " "
    return glue.join(lines), tuple(kept), tuple(breaks), tuple(max(len(line), 1) for line in lines)


def without_numbers(unit: Unit) -> Unit:
    """The same unit with its numbers shown as tokens."""
    text, kept, breaks, widths = _shown(unit.inner, with_numbers=False)
    return Unit(unit.slot, unit.head, text, kept, breaks, widths, unit.tail, unit.inner, unit.note)


def with_numbers(answer: str, unit: Unit, shown: Unit) -> str:
    """An answer to `without_numbers(shown)`, called `unit` here, in the tokens of `shown`."""
    back = iter(range(1, len(shown.kept) + 1))
    names = [kept.raw if NUMBER.fullmatch(kept.raw) else f"<{next(back)}>" for kept in unit.kept]
    return _TOKEN.sub(lambda found: names[int(found[1]) - 1] if 0 < int(found[1]) <= len(names) else "", answer)


def fragments(unit: Unit) -> list[Part | Unit]:
    """The unit's inner parts, with a unit for each text between two that are kept."""
    found: list[Part | Unit] = []
    for part in unit.inner:
        made = _unit(unit.slot, [part]) if isinstance(part, str) else None
        found += [*made.head, made, *made.tail] if made else [part]
    return found


def wrong_tokens(unit: Unit, answer: str) -> list[str]:
    """The tokens that an answer has lost, doubled, made up, or put where a pair or an order breaks."""
    order = [int(number) for number in _TOKEN.findall(answer)]
    times = Counter(order)
    wrong = [f"<{n}>" for n in range(1, len(unit.kept) + 1) if times[n] != 1]
    wrong += [f"<{n}>" for n in times if not 0 < n <= len(unit.kept)]
    # What would be kept in a source is made up in an answer.
    wrong += [part.raw for part in protected([_TOKEN.sub(" ", answer)]) if isinstance(part, Kept)]
    if wrong:
        return wrong
    steps = [n for n in order if unit.kept[n - 1].role == "step"]
    if steps != sorted(steps):
        return [f"<{n}>" for n in steps]
    return _crossed(unit, order)


def _crossed(unit: Unit, order: Sequence[int]) -> list[str]:
    """Halves of pairs that do not enclose what is between them any more."""
    partner: dict[int, int] = {}
    stack: list[int] = []
    for n, kept in enumerate(unit.kept, 1):
        if kept.role == "open":
            stack.append(n)
        elif kept.role == "close" and stack:
            partner[n] = stack.pop()
    opened = []
    for n in order:
        if n in partner.values():
            opened.append(n)
        elif n in partner and (not opened or opened.pop() != partner[n]):
            return [f"<{partner[n]}>", f"<{n}>"]
    return []


def restored(unit: Unit, answer: str) -> list[Part] | None:
    """The parts that an answer with all tokens right stands for; None when its words do not fill the source's lines."""
    if answer == unit.text:
        return joined([*unit.head, *unit.inner, *unit.tail])
    lines = _lines(answer, unit.widths)
    if lines is None:
        return None
    before = _spaces(unit.text)
    parts: list[Part] = []
    for index, line in enumerate(lines):
        if index:
            parts.append(unit.breaks[index - 1])
        position = 0
        text = _respaced(unit, line, before)
        for found in _TOKEN.finditer(text):
            parts += [text[position : found.start()], unit.kept[int(found[1]) - 1]]
            position = found.end()
        parts.append(text[position:])
    return joined([*unit.head, *parts, *unit.tail])


def fills_lines(unit: Unit, answer: str) -> bool:
    """Whether there is a word for each of the source's lines."""
    return _lines(answer, unit.widths) is not None


def _spaces(text: str) -> dict[int, tuple[bool, bool]]:
    """Number of each token to whether a space stands before and after it."""
    return {
        int(found[1]): (text[: found.start()][-1:].isspace(), text[found.end() :][:1].isspace())
        for found in _TOKEN.finditer(text)
    }


def _respaced(unit: Unit, line: str, before: dict[int, tuple[bool, bool]]) -> str:
    """The line with spaces around tokens as the source has them: none within bold or a link, one beside a word."""
    line = _TOKEN.sub(lambda found: f"<{found[1]}>", line)
    for n, (space_before, space_after) in before.items():
        role, token = unit.kept[n - 1].role, f"<{n}>"
        start = line.find(token)
        if start < 0:
            continue
        left, right = line[:start], line[start + len(token) :]
        if role == "open":
            right = right if space_after else right.lstrip(" ")
            outside_left, outside_right = space_before, False
        elif role == "close":
            left = left if space_before else left.rstrip(" ")
            outside_left, outside_right = False, space_after
        else:
            outside_left, outside_right = space_before, space_after
        if outside_left and re.search(r"[^\W_]$|>$", left) and not _WIDE.search(left[-1:]):
            left += " "
        if outside_right and re.match(r"[^\W_]|<\d", right) and not _WIDE.match(right):
            right = " " + right
        line = left + token + right
    return line


def _lines(answer: str, widths: Sequence[int]) -> list[str] | None:
    """The answer in as many lines as `widths`, of proportional length."""
    if answer.count("\n") == len(widths) - 1:  # translated line by line, or there is one line
        return answer.split("\n")
    answer = answer.replace("\n", " ")
    glue = " "
    words = re.findall(r"[^ \t]+", answer)
    if len(words) < len(widths) and _WIDE.search(answer):
        glue, words = "", re.findall(r"<\d+>[、。，！？]?|[^<][、。，！？」）]*|<", answer)
    if len(words) < len(widths):
        return None
    ends = list(accumulate(len(word) + len(glue) for word in words))
    wanted = [share / sum(widths) * ends[-1] for share in accumulate(widths)][:-1]
    lines: list[str] = []
    start = 0
    for index, place in enumerate(wanted):
        least, most = start + 1, len(words) - (len(wanted) - index)
        stop = min(range(least, most + 1), key=lambda n: abs(ends[n - 1] - place))
        lines.append(glue.join(words[start:stop]).strip(" "))
        start = stop
    return [*lines, glue.join(words[start:]).strip(" ")]
