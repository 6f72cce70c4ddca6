"""Hard documents through good and bad models: their structure, as other programs read it, is what it was."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colosse.assistant import embed, languages
from colosse.assistant.translate import Translation, translate
from colosse.engines.schema import ChatRequest, Delta, ModelInfo
from tests.assistant.translate import readers
from tests.assistant.translate.conftest import shouted
from tests.assistant.translate.nasty import DOCUMENTS

READERS: dict[str, Callable[[Any], list[Any]]] = {
    "markdown": readers.markdown,
    "html": readers.html_tags,
    "srt": readers.subtitles,
    "vtt": readers.subtitles,
    "po": readers.catalogue,
    "json": readers.values,
    "xliff": readers.xliff,
    "docx": readers.word,
}
BAD: dict[str, Callable[[str], str]] = {
    "drops": lambda said: re.sub(r"<\d+>", "", said),
    "doubles": lambda said: re.sub(r"(<\d+>)", r"\1\1", said),
    "swaps": lambda said: re.sub(r"<(\d+)>", lambda found: f"<{9 - int(found[1])}>", said),
    "adds prose": lambda said: f"Here is the translation:\n\n{shouted(said)}\n\nI hope it helps!",
    "lines": lambda said: shouted(said).replace(" ", "\n"),
    "numbers": lambda said: re.sub(r"\d", "7", shouted(said)),
    "empty": lambda said: "",
    "repeats": lambda said: f"{shouted(said)} " * 40,
    "markup": lambda said: "# " + shouted(said) + " **x** [y](z) `q` | \"' --> <b> & \\ </p> {evil} %d\n\n- a\n\n```\n",
    "blank": lambda said: "…",
    "another language": lambda said: "Der Hund und die Katze sind nicht in dem Haus, das auf dem Berg ist.",
}


class Puppet:
    """A client of one model that answers what `reply` makes of the text that it is shown."""

    def __init__(self, reply: Callable[[str], str]) -> None:
        self.reply = reply

    async def ensure(self, model: str = "") -> ModelInfo:
        return ModelInfo(id="puppet", state="ready", engine="puppet")

    async def chat(self, request: ChatRequest, *, affinity: str = "") -> AsyncGenerator[Delta, None]:
        asked = next(m.content for m in request.messages if m.role == "user")
        yield Delta(content=self.reply(str(asked).split("\n\n", 1)[1]), finish_reason="stop")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Structure alone is looked at here: nothing is compared by meaning, and no language is guessed."""
    monkeypatch.setattr(embed, "available", lambda: False)
    monkeypatch.setattr(languages, "_identified", lambda text: "")


def done(reply: Callable[[str], str], document: str | bytes, form: str) -> Translation:
    data = document.encode() if isinstance(document, str) else document
    client: Any = Puppet(reply)
    return asyncio.run(translate(client, data, "fr", source="en", format=form, candidates=0))


def bones(result: Translation, form: str) -> list[Any]:
    return READERS[form](result.data if form == "docx" else result.data.decode())


bounded = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("name", DOCUMENTS)
@bounded
@given(data=st.data())
def test_hard_documents_survive(name: str, data: st.DataObject) -> None:
    form, documents = DOCUMENTS[name]
    document = data.draw(documents)
    ends = data.draw(st.sampled_from(["\n", "\r\n", "\ufeff"]))
    if isinstance(document, str):
        document = document.replace("\n", ends) if ends != "\ufeff" else ends + document
    wanted = READERS[form](document)
    echoed = done(lambda said: said, document, form)
    if form in ("markdown", "html", "srt", "vtt", "json"):
        assert echoed.data.decode() == document.replace('lang="en"', 'lang="fr"')
    assert bones(echoed, form) == wanted
    good = done(shouted, document, form)
    assert bones(good, form) == wanted
    assert not [check for check in good.checks if check.name == "structure" and not check.passed]
    bad = data.draw(st.sampled_from(sorted(BAD)))
    result = done(BAD[bad], document, form)
    assert bones(result, form) == wanted, bad
    assert not result.verified
    assert result.failed or bad not in ("empty", "repeats", "another language") or not result.segments
