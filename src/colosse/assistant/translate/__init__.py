"""Translation of documents: the structure survives exactly, every segment is checked, and the checks are shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import BaseModel, Field

from colosse.assistant.checks import merged
from colosse.assistant.languages import guess_language, name_of, prompt_language
from colosse.assistant.skill import Check, Listener, Result, Work, in_parallel
from colosse.assistant.translate.document import Format, Part, Source, plain, protected, skeleton, written
from colosse.assistant.translate.formats import format_of
from colosse.assistant.translate.glossary import Term, occurring, read_glossary
from colosse.assistant.translate.judge import Attempt, Wish, judged
from colosse.assistant.translate.memory import Memory, key_of
from colosse.assistant.translate.units import Plan, Unit, restored
from colosse.assistant.translate.work import TranslatePrompts, UnitWork
from colosse.core.errors import UserError
from colosse.engines.client import Client
from colosse.store import Store

__all__ = ["CANDIDATES", "TONES", "Segment", "Term", "Translation", "read_glossary", "translate"]

CANDIDATES = 2
"""Answers that are sampled for a segment whose checks fail twice."""
TONES = ("formal", "informal", "neutral", "technical", "simple")
_TERM_WORDS = 3
"""Words of a segment that is a term for the longer ones."""
_SAME = 3
"""Different texts with one translation that are too many."""
_SAMPLE = 20_000
"""Characters of a document from which its language is told."""


class Segment(BaseModel):
    """A piece of the document that was translated in one request.

    Attributes:
        source: as it stands in the document.
        target: its translation.
        checks: what was looked at.
        similarity: cosine of the two texts' sentence embeddings; None where it could not be measured.
        back_similarity: cosine of the source and the translation translated back; None when not asked for.
        from_memory: found in the translation memory, and checked again.
        repaired: the model did not keep the structure; the texts between what is kept were translated one by one.
    """

    source: str
    target: str
    checks: list[Check] = []
    similarity: float | None = None
    back_similarity: float | None = None
    from_memory: bool = False
    repaired: bool = False


class Translation(Result):
    """A translated document.

    Attributes:
        segments: in the order of the document.
        source_language: code; empty when it could not be told.
        target_language: code.
        format: of the document.
        data: the file of the translated document, in the source's encoding.
    """

    segments: list[Segment] = []
    source_language: str = ""
    target_language: str
    format: str
    data: bytes = Field(default=b"", exclude=True, repr=False)


async def translate(
    client: Client,
    text: str | bytes,
    to: str,
    *,
    source: str = "",
    format: str = "",
    glossary: Sequence[Term] = (),
    tone: str = "",
    candidates: int = CANDIDATES,
    back_translate: bool = False,
    model: str = "",
    store: Store | None = None,
    owner_id: str = "local",
    listener: Listener | None = None,
) -> Translation:
    """Translate a document into the language of code `to`.

    Its structure (markup, code, links, placeholders, timings, lines) is kept exactly: what the model breaks is mended
    or left as it was, and said. Each segment is checked for numbers, names, language, length, copies, glossary and
    meaning; what fails is asked for again, then sampled, and what still fails is in `checks` and in its segment.

    Args:
        client: whom to ask.
        text: the document, or the bytes of its file.
        to: code of the wanted language.
        source: code of the document's language; empty: guessed.
        format: name of its format or of its file; empty: plain text or Markdown.
        glossary: terms that must be translated as told.
        tone: one of `TONES`, or empty.
        candidates: answers to sample for a segment whose checks fail.
        back_translate: translate every segment back and compare.
        model: its name; empty: the default.
        store: where the translation memory is; None: no memory.
        owner_id: whose memory.
        listener: hears how it gets on; `partial` gets each finished `Segment`.

    Raises:
        UserError: nothing to translate, not of this format, or an unknown tone.
        ColosseError: `back_translate` without sentence embeddings.
    """
    form = format_of(format, text if isinstance(text, str) else "")
    data = text.encode() if isinstance(text, str) else text
    text = text if isinstance(text, str) else form.unpack(data)
    if not text.strip("\ufeff \t\r\n"):
        raise UserError("there is nothing to translate: the text is empty", code="empty_input")
    if tone and tone not in TONES:
        raise UserError(f"unknown tone {tone!r}", hint=f"known: {', '.join(TONES)}", param="tone")
    document = form.read(text)
    work = await Work.start(client, model, TranslatePrompts, "translate", prompt_language(to), listener)
    source = source or guess_language(_words(document))
    wish = Wish(source, to, "" if tone == "neutral" else tone)
    if back_translate and not wish.comparable:
        raise UserError(
            f"back-translation cannot be scored from {source or 'an unknown language'} to {to}",
            hint="it needs sentence embeddings (pip install 'colosse[skills]') of both languages; see --from",
        )
    job = _Job(form, document, UnitWork(work, wish, candidates), Memory(store, owner_id), glossary, back_translate)
    if source != to:
        await job.run()
    answer, checks = job.result()
    answer = form.to_language(answer, source, to) if source != to else answer
    unchecked = []
    if source == to:
        unchecked.append(f"the text is in {name_of(to)} already, and stays as it is: see --from")
    elif not checks:
        unchecked.append("there are no words to translate")
    elif not wish.comparable:
        why = "the embeddings do not know both languages, or are not installed"
        why = why if source else "the text's language could not be told (see --from)"
        unchecked.append(f"meanings were not compared: {why}")
    if checks and wish.tone and not wish.addressed:
        unchecked.append(f"the tone was not checked: {wish.tone!r} has no check in language {to!r}")
    return Translation(
        answer=answer if form.name != "docx" else "\n".join(segment.target for segment in job.segments()),
        verified=not unchecked and all(check.passed for check in checks),
        checks=checks,
        note="; ".join(unchecked),
        segments=job.segments(),
        source_language=source,
        target_language=to,
        format=form.name,
        data=form.pack(data, answer),
        **work.cost(),
    )


def _words(document: Source) -> str:
    said = ""
    for slot in document.slots:
        said += " ".join(part for part in protected(slot.parts) if isinstance(part, str)) + " "
        if len(said) > _SAMPLE:
            break
    return said


class _Job:
    """The units of one document, those that say the same done once, and what has become of them."""

    def __init__(
        self,
        form: Format,
        document: Source,
        work: UnitWork,
        memory: Memory,
        glossary: Sequence[Term],
        back: bool,
    ) -> None:
        self.form, self.document, self.unit_work, self.memory, self.back = form, document, work, memory, back
        self.glossary = glossary
        self.plan = Plan(document)
        self.units: dict[str, Unit] = {}
        self.keys: dict[int, str] = {}
        wish, made = work.wish, work.work
        for unit in self.plan.units:
            terms = occurring(glossary, unit.words)
            asked = (unit.text, unit.shape, wish.source, wish.to)
            key = key_of(*asked, terms, wish.tone, made.texts.version, made.model.id)
            self.keys[id(unit)] = key
            self.units.setdefault(key, unit)
        self.answers: dict[str, Attempt] = {}
        self.from_memory: set[str] = set()
        self.backs: dict[str, float] = {}

    async def run(self) -> None:
        """Translate every unit: first what is remembered, then short ones, whose words are terms for the others."""
        wish, listener = self.unit_work.wish, self.unit_work.work.listener
        known = await self.memory.known(self.units)
        for key, target in known.items():
            unit = self.units[key]
            attempt = await judged(unit, target, wish, occurring(self.glossary, unit.words))
            if not attempt.failed:
                self.from_memory.add(key)
                await self._take(key, attempt)
        rest = [key for key in self.units if key not in self.answers]
        short = [key for key in rest if len(self.units[key].words.split()) <= _TERM_WORDS]
        listener.parts(len(self.answers), len(self.units))
        try:
            for keys in (short, [key for key in rest if key not in set(short)]):
                hints = self._hints()
                async for index, attempt in in_parallel(keys, lambda key: self._one(key, hints)):  # noqa: B023
                    await self._take(keys[index], attempt)
                    listener.parts(len(self.answers), len(self.units))
        finally:  # also when the person stops it: what is done stays done
            await self.memory.flush()

    async def _one(self, key: str, hints: Sequence[Term]) -> Attempt:
        unit = self.units[key]
        terms = occurring(self.glossary, unit.words)
        told = {term.source.lower() for term in terms} | {unit.words.strip().lower()}
        near = [hint for hint in occurring(hints, unit.words) if hint.source.lower() not in told]
        return await self.unit_work.translated(unit, terms, near[:8], self._context(unit))

    def _hints(self) -> list[Term]:
        return [
            Term(self.units[key].text, attempt.answer)
            for key, attempt in self.answers.items()
            if not attempt.failed
            and not self.units[key].kept
            and len(self.units[key].text) > 3
            and len(self.units[key].words.split()) <= _TERM_WORDS
        ]

    def _context(self, unit: Unit) -> str:
        slots = self.plan.slots
        around = [plain(slots[i].parts) for i in (unit.slot - 1, unit.slot + 1) if 0 <= i < len(slots)]
        return "\n".join(line for line in (self.document.title, unit.note, *around) if line.strip())

    async def _take(self, key: str, attempt: Attempt) -> None:
        unit, work = self.units[key], self.unit_work
        if self.back:
            score, check = await work.back(unit, attempt)
            self.backs[key] = score
            attempt.checks.append(check)
        self.answers[key] = attempt
        if not attempt.failed and key not in self.from_memory:
            languages = (work.wish.source, work.wish.to)
            await self.memory.keep(key, unit.text, attempt.answer, languages, work.work.model.id)
        work.work.listener.partial(self._segment(key, unit))

    def _segment(self, key: str, unit: Unit) -> Segment:
        attempt = self.answers[key]
        parts = restored(unit, attempt.answer)
        return Segment(
            source=plain([*unit.head, *unit.inner, *unit.tail]).strip(),
            target=plain(parts or unit.inner).strip(),
            checks=attempt.checks,
            similarity=attempt.similarity,
            back_similarity=self.backs.get(key),
            from_memory=key in self.from_memory,
            repaired=attempt.repaired,
        )

    def segments(self) -> list[Segment]:
        """The segments in the order of the document."""
        return [self._segment(self.keys[id(unit)], unit) for unit in self.plan.units] if self.answers else []

    def result(self) -> tuple[str, list[Check]]:
        """The translated document, and what its checks found; a slot that would break the document stays as it was."""
        if not self.answers:
            return self.document.text, []
        targets = self.plan.targets(lambda unit: self.answers[self.keys[id(unit)]].answer)
        wanted = skeleton(self.form, self.document.text)
        broken = self._broken(targets, wanted)
        for index in broken:
            del targets[index]
        checks = merged(check for attempt in self.answers.values() for check in attempt.checks)
        checks.append(self._distinct())
        said = ", ".join(plain(self.document.slots[index].parts)[:40] for index in broken[:3])
        checks.append(Check(name="structure", passed=not broken, detail=said))
        return written(self.document, targets), checks

    def _distinct(self) -> Check:
        """Different texts have different translations, but for a synonym or two."""
        said: dict[str, list[str]] = {}
        for key, attempt in self.answers.items():
            words = re.sub(r"[\W_]+", " ", attempt.answer).strip().casefold()
            said.setdefault(words, []).append(self.units[key].words.strip())
        same = [words for words, sources in said.items() if len({s.casefold() for s in sources}) >= _SAME]
        return Check(name="distinct", passed=not same, detail=", ".join(same)[:80])

    def _broken(self, targets: dict[int, list[Part]], wanted: list[str]) -> list[int]:
        """The slots that, written, leave a document that reads as another structure; found by halving."""
        if not targets or _same(self.form, written(self.document, targets), wanted):
            return []
        if len(targets) == 1:
            return list(targets)
        half = list(targets)[: len(targets) // 2]
        first = self._broken({i: targets[i] for i in half}, wanted)
        second = self._broken({i: t for i, t in targets.items() if i not in set(half)}, wanted)
        return [*first, *second] or list(targets)


def _same(form: Format, text: str, wanted: list[str]) -> bool:
    try:
        return skeleton(form, text) == wanted
    except UserError:
        return False
