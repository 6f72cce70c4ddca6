"""The work on one unit: ask, check, ask again with what was wrong, sample candidates, and mend what is left."""

from __future__ import annotations

from collections.abc import Sequence

from colosse.assistant.chat import count_tokens
from colosse.assistant.checks import with_numbers_mended
from colosse.assistant.languages import name_of
from colosse.assistant.prompts import SkillPrompts
from colosse.assistant.skill import SMALL_PARAMETERS, Check, Work, parameters_of
from colosse.assistant.translate.glossary import Term
from colosse.assistant.translate.judge import Attempt, Wish, cleaned, judged, similar
from colosse.assistant.translate.units import Unit, fills_lines, fragments, with_numbers, without_numbers
from colosse.engines.schema import ChatMessage

SHORT_WORDS = 8
"""A unit with fewer words is shown to any model with what stands around it; a longer one to larger models alone."""
BACK_SIMILAR = 0.6
"""The least cosine of a source and its translation translated back."""
_TEMPERATURE = 0.7
_CONTEXT_CHARS = 300


class TranslatePrompts(SkillPrompts):
    """`system` says the task, `tokens`, `terms`, `context` and `tones` join it; `retry` says what was wrong."""

    system: str
    tokens: str
    terms: str
    context: str
    user: str
    retry: str
    tones: dict[str, str]


class UnitWork:
    """Translates units of one document.

    Args:
        work: the model and its prompts.
        wish: languages and tone.
        candidates: answers to sample when checks fail.
    """

    def __init__(self, work: Work[TranslatePrompts], wish: Wish, candidates: int) -> None:
        self.work = work
        self.wish = wish
        self.candidates = candidates
        self.language = name_of(wish.to, work.language)
        self._small = 0 < parameters_of(work.model.id) < SMALL_PARAMETERS

    async def translated(self, unit: Unit, terms: Sequence[Term], hints: Sequence[Term], context: str) -> Attempt:
        """The best answer for a unit.

        Args:
            unit: to translate.
            terms: of the glossary, those that it has.
            hints: how this document's shorter segments were translated that occur in it.
            context: what stands around it.
        """
        messages = self._messages(unit, [*terms, *hints], context)
        best = first = await self._asked(unit, unit, messages, terms)
        if first.failed:
            problems = "; ".join(
                self.work.texts.problems[check.name].format(detail=check.detail) for check in first.failed
            )
            retry = self.work.texts.retry.format(problems=problems, language=self.language)
            again = [ChatMessage(role="assistant", content=first.answer), ChatMessage(role="user", content=retry)]
            best = max(best, await self._asked(unit, unit, [*messages, *again], terms), key=lambda a: a.rank)
        for seed in range(1, self.candidates + 1):
            if not best.failed:
                break
            # Numbers that were lost are shown as tokens, which leaves nothing to get wrong.
            lost = any(check.name == "numbers" for check in best.failed)
            shown = without_numbers(unit) if lost else unit
            asked = self._messages(shown, [*terms, *hints], context) if lost else messages
            best = max(best, await self._asked(unit, shown, asked, terms, seed), key=lambda a: a.rank)
        if any(check.name in ("tokens", "not_empty") for check in best.failed) or not fills_lines(unit, best.answer):
            best = await self._mended(unit, terms)
        return best

    async def back(self, unit: Unit, attempt: Attempt) -> tuple[float, Check]:
        """How near the translation, translated back, is to the source."""
        name = name_of(self.wish.source, self.work.language)
        shown = Unit(0, (), attempt.answer, unit.kept, (), (1,), (), ())
        done = await self.work.ask(self._messages(shown, [], "", name), self._room(attempt.answer))
        score = round(await similar(unit.words, cleaned(done.text, attempt.answer)), 3)
        return score, Check(name="back_translation", passed=score >= BACK_SIMILAR, detail=f"{score:.2f}")

    def _messages(self, unit: Unit, terms: Sequence[Term], context: str, language: str = "") -> list[ChatMessage]:
        texts, language = self.work.texts, language or self.language
        system = [texts.system.format(language=language)]
        if unit.kept:
            system.append(texts.tokens)
        if self.wish.tone:
            system.append(texts.tones[self.wish.tone])
        if terms:
            said = (f"{t.source} → {t.target}" + (f" ({t.note})" if t.note else "") for t in dict.fromkeys(terms))
            system.append(texts.terms.format(terms="\n".join(said)))
        if context and (not self._small or len(unit.words.split()) < SHORT_WORDS):
            system.append(texts.context.format(context=context[:_CONTEXT_CHARS]))
        user = texts.user.format(language=language, text=unit.text)
        return [ChatMessage(role="system", content="\n".join(system)), ChatMessage(role="user", content=user)]

    async def _asked(
        self, unit: Unit, shown: Unit, messages: Sequence[ChatMessage], terms: Sequence[Term], seed: int = 0
    ) -> Attempt:
        done = await self.work.ask(
            messages, self._room(shown.text), temperature=_TEMPERATURE if seed else 0.0, seed=seed or None
        )
        answer = cleaned(done.text, shown.text)
        if shown is not unit:
            answer = with_numbers(answer, shown, unit)
        answer = with_numbers_mended(unit.words, answer)
        return await judged(unit, answer, self.wish, terms, whole=done.finish_reason != "length")

    def _room(self, text: str) -> int:
        tokens = count_tokens(text)
        return max(32, min(3 * tokens + 32, self.work.max_model_len - 2 * tokens - 400))

    async def _mended(self, unit: Unit, terms: Sequence[Term]) -> Attempt:
        """Each text between two kept spans, and each line, by itself: the structure stays, whatever is written.

        A text that gets no usable answer stays as it is, which is said.
        """
        answer = ""
        left: list[str] = []
        numbers = iter(range(1, len(unit.kept) + 1))
        for part in fragments(unit):
            if isinstance(part, Unit):
                attempt = await self._asked(part, part, self._messages(part, [], ""), [])
                usable = not {"not_empty", "tokens", "length"} & {check.name for check in attempt.failed}
                answer += attempt.answer if usable else part.text
                left += [] if usable else [part.text]
            elif isinstance(part, str):
                answer += part
            else:
                answer += "\n" if part.role == "soft" else f"<{next(numbers)}>"
        mended = await judged(unit, answer, self.wish, terms)
        checks = [
            Check(name="translated", passed=False, detail=left[0][:60]) if left and c.name == "translated" else c
            for c in mended.checks
        ]
        return mended._replace(checks=checks, repaired=True)
