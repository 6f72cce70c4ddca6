"""Several requests to engines as one: `n` answers, several prompts.

Engines disagree about `n`: llama.cpp takes at most as many as it has slots and counts the tokens of one, Ollama
ignores it. So we ask `n` times, which also spreads the answers over the pool.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from colosse.server.openai.sse import encode

if TYPE_CHECKING:
    from colosse.engines.client import Client

Json = dict[str, Any]


async def ask_all(client: Client, path: str, bodies: Sequence[Json], affinity: str) -> list[Json]:
    """The answers to `bodies`, in order; the first failure cancels the rest and is raised."""
    if len(bodies) == 1:
        return [await client.request(path, bodies[0], affinity=affinity)]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.request(path, body, affinity=affinity)) for body in bodies]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def payloads(client: Client, path: str, body: Json, affinity: str) -> AsyncGenerator[bytes, None]:
    """What the engine streams for `body`, undecoded."""
    return client.stream(path, body, affinity=affinity)


async def decoded(stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[Json, None]:
    """The chunks of a stream, without what is no chunk (llama.cpp sends a `null` now and then)."""
    async with aclosing(stream):
        async for payload in stream:
            chunk = json.loads(payload)
            if isinstance(chunk, dict) and isinstance(chunk.get("choices"), list):
                yield chunk


async def merged(streams: Sequence[AsyncGenerator[Json, None]]) -> AsyncGenerator[tuple[int, Json], None]:
    """(which stream, its chunk), as they come; the first failure ends all and is raised."""
    if len(streams) == 1:
        async with aclosing(streams[0]):
            async for chunk in streams[0]:
                yield 0, chunk
        return
    queue: asyncio.Queue[tuple[int, Json | BaseException | None]] = asyncio.Queue(maxsize=4 * len(streams))

    async def pump(index: int, stream: AsyncGenerator[Json, None]) -> None:
        async with aclosing(stream):
            try:
                async for chunk in stream:
                    await queue.put((index, chunk))
            except Exception as error:
                await queue.put((index, error))
            else:
                await queue.put((index, None))

    tasks = [asyncio.create_task(pump(index, stream)) for index, stream in enumerate(streams)]
    try:
        running = len(tasks)
        while running:
            index, item = await queue.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield index, item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def seeded(body: Json, count: int) -> list[Json]:
    """`body` for each of `count` answers, each with its own seed where one was given."""
    body = {key: value for key, value in body.items() if key != "n"}
    if count == 1:
        return [body]
    if (seed := body.get("seed")) is None:
        return [body] * count
    return [{**body, "seed": (seed + i + 2**63) % 2**64 - 2**63} for i in range(count)]


def total_usage(usages: Sequence[Json], *, prompts: int = 1) -> Json:
    """Tokens of all answers together; the tokens of a prompt that several answers share count once.

    Args:
        usages: of each answer, those of the same prompt side by side.
        prompts: how many different prompts there were.
    """
    share = max(1, len(usages) // prompts)
    prompt = sum(usage.get("prompt_tokens", 0) for usage in usages[::share])
    completion = sum(usage.get("completion_tokens", 0) for usage in usages)
    total: Json = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    if usages and "prompt_tokens_details" in usages[0]:
        total["prompt_tokens_details"] = usages[0]["prompt_tokens_details"]
    return total


def lean(payload: bytes) -> bytes:
    """A chunk without llama.cpp's `timings`, which only the last one has; the others are returned as they are.

    In the text of an answer the quotes would be escaped, so the search cannot meet it.
    """
    if b'"timings"' not in payload:
        return payload
    chunk = json.loads(payload)
    chunk.pop("timings", None)
    return encode(chunk)


def tidy_logprobs(choice: Json) -> None:
    """Remove what OpenAI's log probabilities do not have: llama.cpp adds the tokens' numbers."""
    for token in (choice.get("logprobs") or {}).get("content") or ():
        token.pop("id", None)
        for other in token.get("top_logprobs") or ():
            other.pop("id", None)
