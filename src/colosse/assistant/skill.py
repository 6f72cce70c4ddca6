"""What every skill is made of: one generation, checks of its answer, one more try, and a typed result."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from colosse.assistant.prompts import Language, Texts, prompts
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage, ChatRequest, ModelInfo, Usage

ASSUMED_MODEL_LEN = 4096
"""Context in tokens of a model that does not say."""
SMALL_PARAMETERS = 4e9
"""A model with fewer is asked with the short prompts."""
PARALLEL = 4
"""Requests of one skill that are in flight together."""


class Check(BaseModel):
    """One thing that was looked at.

    Attributes:
        name: what, also the key of the sentence that asks the model to mend it.
        passed: whether it was right.
        detail: what was wrong: the missing items, the error, the line.
    """

    name: str
    passed: bool
    detail: str = ""


class Result(BaseModel):
    """What a skill hands back; each skill's own result is a subclass with more fields.

    Attributes:
        answer: the text, ready to be used.
        verified: whether every check that the skill promises was made and passed: code was run and did what its tests
            ask, each sentence rests on a passage that was fetched. What was not checked is never verified.
        checks: what was looked at, with what was found.
        usage: tokens of all requests together.
        seconds: time of all requests together.
        model: who answered.
        prompt_version: of the prompts that asked.
        note: what the model said beside the answer.
    """

    answer: str
    verified: bool = False
    checks: list[Check] = []
    usage: Usage = Usage()
    seconds: float = 0.0
    model: str = ""
    prompt_version: int = 0
    note: str = ""

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]


class Listener:
    """Hears how a skill gets on; this one stays silent. The command line shows it, the server streams it."""

    def step(self, text: str) -> None:
        """What is being done now, in a few words: `running the tests of candidate 2`."""

    def parts(self, done: int, total: int) -> None:
        """`done` of `total` pieces of the text are finished."""

    def text(self, piece: str) -> None:
        """The model wrote this; it may still be thrown away."""

    def partial(self, part: BaseModel) -> None:
        """A part of the result that stays as it is: a translated segment, a source that was found."""


class Generated(NamedTuple):
    """One finished generation; `tokens_per_second` counts from the first token."""

    text: str
    usage: Usage
    finish_reason: str
    seconds: float
    tokens_per_second: float


async def generate(
    client: Client,
    messages: Sequence[ChatMessage],
    *,
    on_text: Callable[[str], None] = lambda _: None,
    affinity: str = "",
    **params: Any,
) -> Generated:
    """One chat answer, told to `on_text` as it comes.

    Args:
        client: whom to ask.
        messages: the conversation.
        on_text: hears every piece of text.
        affinity: the conversation, for the engine's prefix cache.
        **params: further fields of the request; those that are None are left out.
    """
    request = ChatRequest.model_validate({"messages": list(messages), **params})
    pieces: list[str] = []
    usage, reason = Usage(), ""
    start = first = time.perf_counter()
    async with aclosing(client.chat(request, affinity=affinity)) as steps:
        async for step in steps:
            if step.content:
                if not pieces:
                    first = time.perf_counter()
                pieces.append(step.content)
                on_text(step.content)
            usage, reason = step.usage or usage, step.finish_reason or reason
    end = time.perf_counter()
    rate = (usage.completion_tokens - 1) / (end - first) if usage.completion_tokens > 1 else 0.0
    return Generated("".join(pieces), usage, reason, end - start, rate)


class Judged(NamedTuple):
    """An answer and what its checks say."""

    answer: str
    checks: list[Check]


class Work(Generic[Texts]):
    """One call of a skill: the model it uses, and what it has cost so far.

    Args:
        client: whom to ask.
        model: the model, made ready.
        texts: the prompts in the language that they are asked in.
        language: that language.
        listener: hears how it gets on.
    """

    def __init__(
        self,
        client: Client,
        model: ModelInfo,
        texts: Texts,
        language: Language = "en",
        listener: Listener | None = None,
    ) -> None:
        self.client = client
        self.model = model
        self.texts = texts
        self.language = language
        self.listener = listener or Listener()
        self.usage = Usage()
        self._start = time.perf_counter()

    @classmethod
    async def start(
        cls,
        client: Client,
        model: str,
        shape: type[Texts],
        skill: str,
        language: Language = "en",
        listener: Listener | None = None,
    ) -> Work[Texts]:
        """Make the model ready and take the prompts that fit it.

        Args:
            client: whom to ask.
            model: its name; empty: the default.
            shape: the class of the skill's prompts.
            skill: name of their files.
            language: to ask in.
            listener: hears how it gets on.
        """
        info = await client.ensure(model)
        small = 0 < parameters_of(info.id) < SMALL_PARAMETERS
        return cls(client, info, prompts(shape, skill, language, small=small), language, listener)

    @property
    def max_model_len(self) -> int:
        """Tokens of prompt and answer together."""
        return self.model.max_model_len or ASSUMED_MODEL_LEN

    async def ask(
        self,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        *,
        temperature: float = 0.0,
        seed: int | None = None,
        **params: Any,
    ) -> Generated:
        """One answer, counted; greedy unless told otherwise.

        Args:
            messages: the conversation.
            max_tokens: the answer's limit.
            temperature: above 0 for candidates that differ.
            seed: makes a sampled answer repeatable.
            **params: further fields of the request (`response_format`, `stop`, ...); None is left out.
        """
        given = {name: value for name, value in {"seed": seed, **params}.items() if value is not None}
        done = await generate(
            self.client,
            messages,
            on_text=self.listener.text,
            model=self.model.id,
            temperature=temperature,
            max_tokens=max_tokens,
            **given,
        )
        self.usage = Usage(
            prompt_tokens=self.usage.prompt_tokens + done.usage.prompt_tokens,
            completion_tokens=self.usage.completion_tokens + done.usage.completion_tokens,
            total_tokens=self.usage.total_tokens + done.usage.total_tokens,
        )
        return done

    async def attempt(
        self, system: str, user: str, retry: str, judge: Callable[[str], Judged], max_tokens: int
    ) -> Judged:
        """Ask; if a check fails, say what was wrong and ask once more; the better of the two.

        Args:
            system: the system prompt.
            user: the request.
            retry: template with `{problems}`.
            judge: turns what the model wrote into an answer and its checks.
            max_tokens: the answer's limit.
        """
        messages = [ChatMessage(role="system", content=system), ChatMessage(role="user", content=user)]
        first = await self._judged(messages, judge, max_tokens)
        failed = [check for check in first.checks if not check.passed]
        if not failed:
            return first
        problems = "; ".join(self.texts.problems[check.name].format(detail=check.detail) for check in failed)
        messages += [
            ChatMessage(role="assistant", content=first.answer),
            ChatMessage(role="user", content=retry.format(problems=problems)),
        ]
        second = await self._judged(messages, judge, max_tokens)
        return second if sum(not check.passed for check in second.checks) < len(failed) else first

    async def _judged(self, messages: Sequence[ChatMessage], judge: Callable[[str], Judged], max_tokens: int) -> Judged:
        done = await self.ask(messages, max_tokens)
        answer, checks = judge(done.text.strip())
        whole = done.finish_reason != "length"
        return Judged(
            answer, [Check(name="complete", passed=whole, detail="" if whole else f"{max_tokens} tokens"), *checks]
        )

    def cost(self) -> dict[str, Any]:
        """The fields of a result that say who answered and what it took."""
        return {
            "usage": self.usage,
            "seconds": round(time.perf_counter() - self._start, 3),
            "model": self.model.id,
            "prompt_version": self.texts.version,
        }

    def result(self, answer: str, checks: Sequence[Check], note: str = "") -> Result:
        """The result of the whole call, for skills without more fields."""
        return Result(answer=answer, checks=list(checks), note=note, **self.cost())


Item = TypeVar("Item")
Done = TypeVar("Done")


async def in_parallel(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Done]], limit: int = PARALLEL
) -> AsyncIterator[tuple[int, Done]]:
    """(index, what `work` made of the item) as they are finished, at most `limit` at a time; leaving cancels the rest.

    Engines answer several requests together in less time than one after the other.
    """
    places = asyncio.Semaphore(limit)

    async def one(index: int, item: Item) -> tuple[int, Done]:
        async with places:
            return index, await work(item)

    tasks = [asyncio.create_task(one(index, item)) for index, item in enumerate(items)]
    try:
        for finished in asyncio.as_completed(tasks):
            yield await finished
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def parameters_of(model: str) -> float:
    """How many parameters a model has by its name (`qwen2.5-coder-1.5b`, `smollm2-135m`); 0 when it does not say."""
    found = re.findall(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", model.lower())
    return float(found[0][0]) * {"b": 1e9, "m": 1e6}[found[0][1]] if found else 0.0
