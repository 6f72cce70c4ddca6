"""What every skill is made of: one generation, checks of its answer, one more try, and a typed result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from pydantic import BaseModel

from colosse.assistant.prompts import Prompts
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage, ChatRequest, ModelInfo, Usage

ASSUMED_MODEL_LEN = 4096
"""Context in tokens of a model that does not say."""


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
    """What a skill hands back.

    Attributes:
        answer: the text, ready to be used.
        verified: whether the answer was shown to be right by running it; checks of form alone never set it.
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
    """Hears how a skill gets on; this one stays silent."""

    def parts(self, done: int, total: int) -> None:
        """`done` of `total` pieces of the text are finished."""

    def text(self, piece: str) -> None:
        """The model wrote this; it may still be thrown away."""


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


class Work:
    """One call of a skill: the model it uses, and what it has cost so far.

    Args:
        client: whom to ask.
        model: the model, made ready.
        texts: the prompts in the language that they are asked in.
        listener: hears how it gets on.
    """

    def __init__(self, client: Client, model: ModelInfo, texts: Prompts, listener: Listener | None = None) -> None:
        self.client = client
        self.model = model
        self.texts = texts
        self.listener = listener or Listener()
        self.usage = Usage()
        self._start = time.perf_counter()

    @property
    def max_model_len(self) -> int:
        """Tokens of prompt and answer together."""
        return self.model.max_model_len or ASSUMED_MODEL_LEN

    async def ask(self, messages: Sequence[ChatMessage], max_tokens: int) -> Generated:
        """One greedy answer, counted."""
        done = await generate(
            self.client,
            messages,
            on_text=self.listener.text,
            model=self.model.id,
            temperature=0.0,
            max_tokens=max_tokens,
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

    def result(self, answer: str, checks: Sequence[Check], note: str = "") -> Result:
        """The result of the whole call."""
        return Result(
            answer=answer,
            checks=list(checks),
            usage=self.usage,
            seconds=round(time.perf_counter() - self._start, 3),
            model=self.model.id,
            prompt_version=self.texts.version,
            note=note,
        )
