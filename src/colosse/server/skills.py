"""The skills that can be called over the API: the name of each, its input and how it is called.

Skills are imported when they are called, so that the server starts without what only they need.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from colosse.assistant.skill import Listener, Result
from colosse.engines.client import Client
from colosse.store import Store


def _is_base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("this is not base64") from None
    return text


LongText = Annotated[str, Field(max_length=10_000_000)]
Word = Annotated[str, Field(max_length=200)]
Base64 = Annotated[str, AfterValidator(_is_base64), Field(json_schema_extra={"contentEncoding": "base64"})]


class FileIn(BaseModel):
    """A file in a request; its name's ending says what it is."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=300)]
    content_base64: Base64

    @property
    def data(self) -> bytes:
        """Its bytes."""
        return base64.b64decode(self.content_base64)


class SkillIn(BaseModel):
    """Base of the input of a skill: unknown fields are refused; an empty model is the default one."""

    model_config = ConfigDict(extra="forbid")

    model: Word = ""

    def stored(self) -> dict[str, Any]:
        """As it is kept: of a file, the name and size."""
        return {name: _without_contents(value) for name, value in self.model_dump(mode="json").items()}


def _without_contents(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_contents(below) for below in value]
    if isinstance(value, dict) and "content_base64" in value:
        return {"name": value["name"], "num_bytes": len(value["content_base64"]) * 3 // 4}
    return value


class TranslateIn(SkillIn):
    """Translate `text` into the language of code `to`; an empty `source` is detected."""

    text: LongText
    to: Word
    source: Word = ""


class SummarizeIn(SkillIn):
    """Summarise `text`; an empty `language` is the text's own."""

    text: LongText
    length: Literal["short", "medium", "long"] = "medium"
    language: Word = ""


class Call(Protocol):
    """How a skill is called, whatever its own function looks like."""

    async def __call__(self, client: Client, input: Any, store: Store, owner_id: str, listener: Listener) -> Result:
        """Do the work."""


@dataclass(frozen=True)
class Skill:
    """A skill as the API knows it."""

    name: str
    input: type[SkillIn]
    call: Call


async def _translate(client: Client, input: TranslateIn, store: Store, owner_id: str, listener: Listener) -> Result:
    from colosse.assistant.translate import translate

    return await translate(client, input.text, input.to, source=input.source, model=input.model, listener=listener)


async def _summarize(client: Client, input: SummarizeIn, store: Store, owner_id: str, listener: Listener) -> Result:
    from colosse.assistant.summarize import summarize

    return await summarize(
        client, input.text, length=input.length, language=input.language, model=input.model, listener=listener
    )


SKILLS = {
    skill.name: skill
    for skill in (
        Skill("translate", TranslateIn, _translate),
        Skill("summarize", SummarizeIn, _summarize),
    )
}
