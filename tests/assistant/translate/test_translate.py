"""Translation with models that answer well, badly and with malice."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import docx
import pytest

from colosse.assistant import embed
from colosse.assistant.skill import Listener
from colosse.assistant.translate import Segment, Term, Translation, translate
from colosse.assistant.translate.document import skeleton
from colosse.assistant.translate.formats import FORMATS
from colosse.core.errors import UserError
from colosse.engines.engines import Engines
from colosse.store import Store, keys, open_store
from tests.assistant.translate.conftest import SAMPLES, shouting, shown, word_file
from tests.fixtures.scripted import Scripted

FRENCH = {
    "The doctor gave the child a new medicine.": "Le médecin a donné un nouveau médicament à l'enfant.",
    "The doctor gave the child <1>a new medicine<2>.": "Le médecin a donné <1>un nouveau médicament<2> à l'enfant.",
    "Good morning": "Bonjour",
    "You have 12 new messages today.": "Vous avez 12 nouveaux messages aujourd'hui.",
}


@pytest.fixture
def no_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sentence embeddings, as where the extra is not installed."""
    monkeypatch.setattr(embed, "available", lambda: False)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path}/memory.db") as opened:
        async with opened.write() as session:
            await keys.ensure_user(session, keys.LOCAL_USER)
        yield opened


def french(body: dict[str, Any]) -> str:
    return FRENCH[shown(body)]


def failed(result: Translation) -> set[str]:
    return {check.name for check in result.failed}


async def test_a_good_answer_is_verified(scripted: Scripted, client: Engines) -> None:
    scripted.reply = french
    source = "# Good morning\n\nThe doctor gave the child **a new medicine**.\n"
    result = await translate(client, source, "fr", source="en", format="markdown")
    assert result.answer == "# Bonjour\n\nLe médecin a donné **un nouveau médicament** à l'enfant.\n"
    assert (result.verified, result.failed, result.note) == (True, [], "")
    assert {c.name for c in result.checks} == {"complete", "not_empty", "tokens", "numbers", "names_kept", "translated",
                                               "length", "language", "meaning", "distinct", "structure"}  # fmt: skip
    assert (result.source_language, result.target_language, result.format) == ("en", "fr", "markdown")
    assert result.segments[1].source == "The doctor gave the child **a new medicine**."
    assert result.segments[1].target == "Le médecin a donné **un nouveau médicament** à l'enfant."
    assert result.segments[1].similarity is not None
    assert result.segments[1].similarity > 0.6
    assert result.data.decode() == result.answer
    assert "data" not in result.model_dump()
    assert result.usage.completion_tokens > 0


async def test_what_could_not_be_checked_is_not_verified(scripted: Scripted, client: Engines, no_meaning: None) -> None:
    scripted.reply = french
    result = await translate(client, "You have 12 new messages today.", "fr", source="en")
    assert (result.failed, result.verified) == ([], False)
    assert "meanings were not compared" in result.note
    assert result.segments[0].similarity is None


async def test_asks_in_the_language_of_the_answer(scripted: Scripted, client: Engines) -> None:
    scripted.reply = shouting
    await translate(client, "hello there", "fr", candidates=0, tone="formal")
    await translate(client, "hello there", "de", candidates=0)
    first, second = (r.body["messages"] for r in (scripted.requests[0], scripted.requests[-1]))
    assert first[1]["content"].startswith("Traduis en français")
    assert "Vouvoie" in first[0]["content"]
    assert second[1]["content"].startswith("Translate into German")


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ("", {"translated", "language"}),
        ("… 12 !", {"translated", "language"}),
        ("The doctor gave the child a new medicine.", {"translated", "language"}),
        ("Der Arzt hat dem Kind ein neues Medikament gegeben.", {"language"}),
        ("Le médecin a donné 3 nouveaux médicaments à l'enfant.", {"numbers"}),
        ("Médecin.", {"length"}),
        ("Le chat noir dort tranquillement sur la grande table.", {"meaning"}),
        ("Le médecin a donné un nouveau médicament à l'enfant {x} 🎉.", {"tokens"}),
        ("Le médecin a donné un nouveau médicament à l'enfant, " + "et puis il est parti, " * 9, {"length"}),
    ],
)
async def test_what_is_wrong_is_seen_and_said(
    scripted: Scripted, client: Engines, answer: str, names: set[str]
) -> None:
    scripted.reply = answer
    result = await translate(client, "The doctor gave the child a new medicine.", "fr", source="en")
    assert names <= failed(result) or (names == {"tokens"} and "translated" in failed(result))
    assert not result.verified
    assert {c.name for c in result.segments[0].checks if not c.passed} == failed(result)
    assert result.answer.strip()
    assert len(scripted.requests) >= 4  # asked, told what was wrong, sampled twice


async def test_told_what_was_wrong_then_right(scripted: Scripted, client: Engines) -> None:
    answers = iter(["Vous avez de nouveaux messages aujourd'hui.", "Vous avez 12 nouveaux messages aujourd'hui."])
    scripted.reply = lambda body: next(answers)
    result = await translate(client, "You have 12 new messages today.", "fr", source="en")
    assert result.verified
    retry = scripted.requests[1].body["messages"]
    assert [m["role"] for m in retry] == ["system", "user", "assistant", "user"]
    assert "ces nombres manquent ou sont faux : 12" in retry[-1]["content"]


async def test_numbers_that_are_lost_become_tokens(scripted: Scripted, client: Engines) -> None:
    def reply(body: dict[str, Any]) -> str:
        return "Vous avez <1> nouveaux messages aujourd'hui." if "<1>" in shown(body) else "Vous avez des messages."

    scripted.reply = reply
    result = await translate(client, "You have 1,250 new messages today.", "fr", source="en")
    assert result.answer == "Vous avez 1,250 nouveaux messages aujourd'hui."
    assert result.failed == []


async def test_the_best_candidate_is_kept(scripted: Scripted, client: Engines) -> None:
    def reply(body: dict[str, Any]) -> str:
        return {1: "Le docteur est là.", 2: "Le médecin a donné à l'enfant un nouveau médicament."}.get(
            body.get("seed", 0), "Das Kind ist hier."
        )

    scripted.reply = reply
    result = await translate(client, "The doctor gave the child a new medicine.", "fr", source="en")
    assert result.answer == "Le médecin a donné à l'enfant un nouveau médicament."
    assert result.verified
    assert [r.body["temperature"] for r in scripted.requests] == [0, 0, 0.7, 0.7]


HOSTILE: dict[str, Callable[[dict[str, Any]], str]] = {
    "drops": lambda body: re.sub(r"<\d+>", "", shown(body)).upper(),
    "adds prose": lambda body: "Sure! Here is the translation:\n\n" + shouting(body) + "\n\nNote: I hope it helps.",
    "wrong language": lambda body: "Der Hund und die Katze sind nicht in dem Haus, das auf dem Berg ist.",
    "empty": lambda body: "",
    "reorders": lambda body: " ".join(reversed(shouting(body).split())),
    "doubles": lambda body: shouting(body) * 2,
    "invents": lambda body: shouting(body) + " <9> {evil} <b> https://evil.org 😈",
    "markup": lambda body: "# " + shouting(body) + " **x** [y](z) `q` | -->\n\n- a\n\n```\n",
    "one word": lambda body: "oui",
    "lines": lambda body: "\n".join(shouting(body).split()),
    "control": lambda body: "\ufeff\u2028 \u200f<1 >< 2>" + shouting(body),
}


@pytest.mark.parametrize("name", [*SAMPLES, "docx"])
async def test_structure_survives_any_model(scripted: Scripted, client: Engines, no_meaning: None, name: str) -> None:
    form = FORMATS[name]
    data = word_file() if name == "docx" else SAMPLES[name].encode()
    wanted = skeleton(form, form.to_language(form.unpack(data), "en", "fr"))
    for kind, reply in HOSTILE.items():
        scripted.reply = reply
        result = await translate(client, data, "fr", source="en", format=name, candidates=1)
        assert skeleton(form, form.unpack(result.data)) == wanted, kind
        assert not result.verified
        if kind in ("wrong language", "empty") or (kind == "one word" and len(result.segments) > 3):
            assert result.failed, kind


async def test_layout_of_scripts_and_signs(scripted: Scripted, client: Engines, no_meaning: None) -> None:
    scripted.reply = shouting
    source = "\ufeffmot\u00a0insécable : 👩‍👩‍👧 oui\r\n\r\nשלום {name} עולם\r\n日本語の文章です。\r\n\t- end"
    result = await translate(client, source, "fr", source="en", format="text", candidates=0)
    assert re.sub(r"[^\W\d_]+", "x", result.answer) == re.sub(r"[^\W\d_]+", "x", source)
    assert "{name}" in result.answer


async def test_a_huge_line_goes_in_pieces(scripted: Scripted, client: Engines, no_meaning: None) -> None:
    scripted.reply = shouting
    source = " ".join(f"Sentence number {i} has some words in it." for i in range(600)) + " " + "x" * 3000
    result = await translate(client, source, "fr", source="en", candidates=0)
    assert result.answer.lower().replace("é", "") == source.lower()
    assert len(result.segments) > 20
    assert max(len(shown(r.body)) for r in scripted.requests) < 2000


async def test_the_same_text_is_asked_once_and_short_ones_are_terms(
    scripted: Scripted, client: Engines, no_meaning: None
) -> None:
    scripted.reply = lambda body: {"Work order": "Ordre de travail"}.get(
        shown(body), "Ouvrez l'ordre de travail maintenant."
    )
    source = "# Work order\n\nPlease open the work order now.\n\n# Work order\n"
    result = await translate(client, source, "fr", source="en")
    assert result.answer == "# Ordre de travail\n\nOuvrez l'ordre de travail maintenant.\n\n# Ordre de travail\n"
    assert len(result.segments) == 3
    assert len(scripted.requests) == 2
    assert "Work order → Ordre de travail" in scripted.requests[1].body["messages"][0]["content"]
    assert "Please open the work order now." in scripted.requests[0].body["messages"][0]["content"]  # what is around


async def test_the_same_words_in_other_lines_are_asked_again(
    scripted: Scripted, client: Engines, no_meaning: None
) -> None:
    scripted.reply = lambda body: {"Hello": "Salut", "my friend": "mon ami"}.get(shown(body), "Salut")
    cues = ("Hello my friend", "Hello\nmy friend")
    source = "\n\n".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n},500\n{cue}" for n, cue in enumerate(cues, 1))
    result = await translate(client, source, "fr", source="en", format="srt", candidates=0)
    assert result.answer == source.replace(cues[0], "Salut").replace(cues[1], "Salut\nmon ami")
    assert [segment.repaired for segment in result.segments] == [False, True]


async def test_glossary_is_told_where_it_occurs_and_enforced(
    scripted: Scripted, client: Engines, no_meaning: None
) -> None:
    terms = [Term("work order", "bon de travail", "maintenance"), Term("valve", "vanne")]
    answers = iter(["Ouvrez les ordres de travail.", "Ouvrez les bons de travail."])
    scripted.reply = lambda body: next(answers)
    result = await translate(client, "Open the work orders.", "fr", source="en", glossary=terms)
    assert result.answer == "Ouvrez les bons de travail."
    assert result.failed == []
    system = scripted.requests[0].body["messages"][0]["content"]
    assert "work order → bon de travail (maintenance)" in system
    assert "vanne" not in system
    assert "bon de travail" in scripted.requests[1].body["messages"][-1]["content"]
    scripted.reply = "Ouvrez le robinet maintenant."
    result = await translate(client, "Open the valve now.", "fr", source="en", glossary=terms)
    assert failed(result) == {"glossary"}


async def test_tone(scripted: Scripted, client: Engines, no_meaning: None) -> None:
    scripted.reply = "Peux-tu ouvrir ta porte maintenant ?"
    for tone, names in (("formal", {"tone"}), ("informal", set()), ("neutral", set())):
        result = await translate(client, "Can you open your door now?", "fr", source="en", tone=tone)
        assert failed(result) == names
    for to, tone, answer, names in (
        ("de", "formal", "Kannst du deine Tür jetzt öffnen?", {"tone"}),
        ("de", "informal", "Können Sie jetzt Ihre Tür öffnen?", {"tone"}),
        ("de", "informal", "Sie ist da. Kannst du jetzt die Tür öffnen?", set()),
        ("es", "formal", "¿Puedes tú abrir tu puerta ahora?", {"tone"}),
        ("es", "informal", "¿Puede usted abrir su puerta ahora?", {"tone"}),
    ):
        scripted.reply = answer
        result = await translate(client, "Can you open your door now?", to, source="en", tone=tone)
        assert failed(result) == names, answer
    assert "tone" not in result.note
    for to, tone in (("it", "formal"), ("fr", "technical")):
        result = await translate(client, "Can you open your door now?", to, source="en", tone=tone, candidates=0)
        assert "the tone was not checked" in result.note
        assert not result.verified
    with pytest.raises(UserError, match="unknown tone 'rude'"):
        await translate(client, "Hello", "fr", tone="rude")


async def test_back_translation(scripted: Scripted, client: Engines) -> None:
    back = {"Le médecin a donné un nouveau médicament à l'enfant.": "The doctor gave a new medicine to the child."}
    scripted.reply = lambda body: back.get(shown(body)) or french(body)
    source = "The doctor gave the child a new medicine."
    result = await translate(client, source, "fr", source="en", back_translate=True)
    assert result.segments[0].back_similarity is not None
    assert result.segments[0].back_similarity > 0.8
    assert result.verified
    back["Le médecin a donné un nouveau médicament à l'enfant."] = "The cat sleeps on the table."
    assert failed(await translate(client, source, "fr", source="en", back_translate=True)) == {"back_translation"}
    with pytest.raises(UserError, match="cannot be scored from en to sv"):
        await translate(client, source, "sv", source="en", back_translate=True)


async def test_memory_answers_again_unless_settings_differ(scripted: Scripted, client: Engines, store: Store) -> None:
    scripted.reply = french
    source = "Good morning\n\nYou have 12 new messages today.\n"
    first = await translate(client, source, "fr", source="en", store=store)
    assert not any(segment.from_memory for segment in first.segments)
    asked = len(scripted.requests)
    again = await translate(client, source, "fr", source="en", store=store)
    assert len(scripted.requests) == asked
    assert again.answer == first.answer
    assert all(segment.from_memory for segment in again.segments)
    assert again.verified
    await translate(client, source, "fr", source="en", store=store, tone="formal")
    await translate(
        client, source, "fr", source="en", store=store, tone="formal", glossary=[Term("message", "message")]
    )
    assert len(scripted.requests) == asked + 2 + 1  # the glossary concerns one of them


async def test_what_fails_is_not_remembered(scripted: Scripted, client: Engines, store: Store) -> None:
    scripted.reply = "Vous avez de nouveaux messages aujourd'hui."
    for _ in range(2):
        result = await translate(client, "You have 12 new messages today.", "fr", source="en", store=store)
        assert failed(result) == {"numbers"}
    assert not result.segments[0].from_memory


async def test_a_stopped_run_goes_on(scripted: Scripted, client: Engines, store: Store, no_meaning: None) -> None:
    source = "\n\n".join(f"This is the line with number {i} of them." for i in range(30))
    scripted.reply = lambda body: "Voici la ligne qui porte le numéro " + re.findall(r"\d+", shown(body))[0]
    task: asyncio.Task[Translation]

    class Stop(Listener):
        heard = 0

        def partial(self, part: Any) -> None:
            assert isinstance(part, Segment)
            self.heard += 1
            if self.heard == 13:
                task.cancel()

    task = asyncio.create_task(translate(client, source, "fr", source="en", store=store, listener=Stop(), candidates=0))
    with pytest.raises(asyncio.CancelledError):
        await task
    result = await translate(client, source, "fr", source="en", store=store, candidates=0)
    assert sum(segment.from_memory for segment in result.segments) >= 13
    assert len(result.segments) == 30


async def test_word_in_word_out(scripted: Scripted, client: Engines, no_meaning: None) -> None:
    scripted.reply = shouting
    result = await translate(client, word_file(), "fr", source="en", format="report.docx", candidates=0)
    assert docx.Document(io.BytesIO(result.data)).paragraphs[1].text.startswith("SOME BOLD WORDS")
    assert "IN A CELL" in result.answer


async def test_progress_and_already_in_that_language(scripted: Scripted, client: Engines, no_meaning: None) -> None:
    source = "Le navire qui était perdu dans la tempête est retrouvé, et les marins sont avec nous."
    result = await translate(client, source, "fr")
    assert (result.answer, result.verified, result.segments) == (source, False, [])
    assert "in French already" in result.note
    assert scripted.requests == []
    scripted.reply = shouting
    heard: list[tuple[int, int]] = []

    class Hear(Listener):
        def parts(self, done: int, total: int) -> None:
            heard.append((done, total))

    await translate(client, json.dumps(["one thing", "two things"]), "fr", format="json", listener=Hear(), candidates=0)
    assert heard == [(0, 2), (1, 2), (2, 2)]


async def test_nothing_to_translate(client: Engines) -> None:
    for text in (" \n", "\ufeff", b""):
        with pytest.raises(UserError, match="empty"):
            await translate(client, text, "fr")


async def test_no_words_at_all(scripted: Scripted, client: Engines) -> None:
    result = await translate(client, "12 + 3 = 15 {x} https://x.org\n", "fr")
    assert result.answer == "12 + 3 = 15 {x} https://x.org\n"
    assert (result.verified, result.note) == (False, "there are no words to translate")
    assert scripted.requests == []
