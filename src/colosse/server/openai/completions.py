"""`POST /v1/completions`: text that goes on from a prompt, for base models and code."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colosse.core.errors import UserError
from colosse.server.openai.fan import ask_all, decoded, merged, payloads, seeded, tidy_logprobs, total_usage
from colosse.server.openai.generation import check_stream_options, lacks
from colosse.server.openai.requests import CompletionRequest
from colosse.server.openai.sse import encode

if TYPE_CHECKING:
    from colosse.engines.client import Client

Json = dict[str, Any]

PATH = "/completions"
DEFAULT_MAX_TOKENS = 16  # OpenAI's


@dataclass(frozen=True)
class Completions:
    """A request ready for the engine.

    Attributes:
        bodies: one for each answer, those of one prompt side by side.
        prompts: how many prompts there are.
        echoes: what each answer starts with: its prompt, or nothing.
        usage: whether the stream ends with token counts.
    """

    bodies: list[Json]
    prompts: int
    echoes: list[str]
    usage: bool


async def prepare(client: Client, request: CompletionRequest) -> Completions:
    """Check `request` and make the engine's requests of it.

    Raises:
        NotFoundError: there is no such model.
        UserError: the model or this API cannot do what is asked.
    """
    request.refuse_slips()
    check_stream_options(request)
    number = request.n or 1
    if request.suffix:
        raise UserError("'suffix' is not supported", hint="put both sides into the prompt", param="suffix")
    if (request.best_of or number) != number:
        raise UserError("'best_of' is not supported", hint="ask for 'n' and choose", param="best_of")
    prompts: list[Any] = [request.prompt] if _is_one(request.prompt) else list(request.prompt)
    if request.echo:
        if request.logprobs is not None:
            raise UserError("'echo' is not supported together with 'logprobs'", param="echo")
        if not isinstance(prompts[0], str):
            raise UserError("'echo' needs prompts of text, not of tokens", param="echo")
    model = await client.ensure(request.model)
    if lacks(model, "completions"):
        raise UserError(f"model {model.id!r} does not complete text", param="model")
    body = {k: v for k, v in request.wire().items() if k not in ("prompt", "echo", "best_of", "suffix")}
    body = {"max_tokens": DEFAULT_MAX_TOKENS, **body, "model": model.id}
    return Completions(
        bodies=[each for prompt in prompts for each in seeded({**body, "prompt": prompt}, number)],
        prompts=len(prompts),
        echoes=[prompt if request.echo else "" for prompt in prompts for _ in range(number)],
        usage=bool(request.stream_options and request.stream_options.include_usage),
    )


def _is_one(prompt: str | list[str] | list[list[int]] | list[int]) -> bool:
    return isinstance(prompt, str) or isinstance(prompt[0], int)


async def complete(client: Client, job: Completions) -> Json:
    """The whole answer, in OpenAI's shape and nothing else."""
    answers = await ask_all(client, PATH, job.bodies, "")
    choices = []
    for index, (answer, echo) in enumerate(zip(answers, job.echoes, strict=True)):
        choice = answer["choices"][0]
        choices.append(
            {
                "index": index,
                "text": echo + choice["text"],
                "logprobs": legacy_logprobs(choice.get("logprobs"), 0),
                "finish_reason": choice["finish_reason"],
            }
        )
    first = answers[0]
    return {
        "id": first["id"],
        "object": "text_completion",
        "created": first["created"],
        "model": first["model"],
        "choices": choices,
        "usage": total_usage([answer.get("usage") or {} for answer in answers], prompts=job.prompts),
        "system_fingerprint": first.get("system_fingerprint"),
    }


async def stream(client: Client, job: Completions) -> AsyncGenerator[bytes, None]:
    """The chunks of the answer as they go on the wire."""
    head: Json = {}
    usages: list[Json] = [{} for _ in job.bodies]
    lengths = [0] * len(job.bodies)
    sources = [decoded(payloads(client, PATH, body, "")) for body in job.bodies]
    async with aclosing(merged(sources)) as chunks:
        async for index, chunk in chunks:
            usages[index] = chunk.get("usage") or usages[index]
            if not head:
                head = {key: chunk.get(key) for key in ("id", "object", "created", "model", "system_fingerprint")}
                for i, echo in enumerate(job.echoes):
                    if echo:
                        yield encode({**head, "choices": [_choice(i, echo)]})
            if chunk["choices"]:
                choice = chunk["choices"][0]
                logprobs = legacy_logprobs(choice.get("logprobs"), lengths[index])
                lengths[index] += len(choice["text"])
                yield encode(
                    {**head, "choices": [_choice(index, choice["text"], choice.get("finish_reason"), logprobs)]}
                )
    if job.usage and head:
        yield encode({**head, "choices": [], "usage": total_usage(usages, prompts=job.prompts)})


def _choice(index: int, text: str, finish_reason: str | None = None, logprobs: Json | None = None) -> Json:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}


def legacy_logprobs(logprobs: Json | None, offset: int) -> Json | None:
    """Log probabilities in the parallel lists of this route; llama.cpp answers them in chat's shape.

    Args:
        logprobs: as the engine answered them.
        offset: characters of this answer before the first of these tokens.
    """
    if not logprobs or "content" not in logprobs:
        return logprobs or None
    tidy_logprobs({"logprobs": logprobs})
    tokens = logprobs["content"] or []
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token["token"])
    return {
        "tokens": [token["token"] for token in tokens],
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [{t["token"]: t["logprob"] for t in token.get("top_logprobs") or ()} for token in tokens],
        "text_offset": offsets,
    }
