"""A chat request, checked against the model that shall answer it and put into the words that its engine understands.

`complete` and `stream` answer `/v1/chat/completions`; `chunks` is the same stream decoded, for `/v1/responses`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colosse.core.errors import UserError
from colosse.engines.schema import ModelInfo
from colosse.server.openai.fan import (
    ask_all,
    decoded,
    lean,
    merged,
    payloads,
    seeded,
    tidy_logprobs,
    total_usage,
)
from colosse.server.openai.requests import ChatCompletionRequest, ImagePart, NamedTool, Sampling, UserMessage
from colosse.server.openai.sse import encode
from colosse.server.openai.tools import call_format, finish_with_calls, stream_with_calls

if TYPE_CHECKING:
    from colosse.engines.client import Client

Json = dict[str, Any]

PATH = "/chat/completions"

_UNSUPPORTED = {
    "functions": "use 'tools'",
    "function_call": "use 'tool_choice'",
    "audio": "only text is answered",
    "web_search_options": "there is no web search in this API",
}


@dataclass(frozen=True)
class Chat:
    """A chat request ready for the engine.

    Attributes:
        bodies: one request for each of `n` answers.
        usage: whether the stream ends with token counts.
        names: functions whose calls are looked for in the text; empty where the engine does it all.
        several: whether one answer may hold several calls.
        logprobs: whether log probabilities were asked for.
        affinity: the client's own word for requests that share a prompt cache; empty: the pool finds one.
    """

    bodies: list[Json]
    usage: bool
    names: frozenset[str]
    several: bool
    logprobs: bool
    affinity: str


def lacks(model: ModelInfo, capability: str) -> bool:
    """Whether we know that `model` cannot do it; what a remote engine can do, it knows best itself."""
    return model.engine == "llama.cpp" and capability not in model.capabilities


def check_stream_options(request: Sampling) -> None:
    """Refuse options of a stream for what is none.

    Raises:
        UserError: they are set, and `stream` is not.
    """
    if request.stream_options is not None and not request.stream:
        raise UserError("'stream_options' is only allowed when 'stream' is true", param="stream_options")


async def prepare(client: Client, request: ChatCompletionRequest) -> Chat:
    """Check `request` and make the engine's requests of it; a model that is not loaded yet is loaded now.

    Raises:
        NotFoundError: there is no such model.
        UserError: the model or this API cannot do what is asked.
    """
    request.refuse_slips()
    check_stream_options(request)
    for key, why in _UNSUPPORTED.items():
        if (request.model_extra or {}).get(key) is not None:
            raise UserError(f"{key!r} is not supported", hint=why, code="unsupported_parameter", param=key)
    if request.top_logprobs is not None and not request.logprobs:
        raise UserError("'top_logprobs' needs 'logprobs' to be true", param="top_logprobs")
    model = await client.ensure(request.model)
    if lacks(model, "chat"):
        raise UserError(
            f"model {model.id!r} is a base model, which completes text and does not chat",
            hint="use /v1/completions, or choose a model with the capability 'chat'",
            code="unsupported_model",
            param="model",
        )
    _check_images(request, model)
    body = request.wire()
    body["model"] = model.id
    names: frozenset[str] = frozenset()
    if request.tools or request.tool_choice is not None:
        names = _set_tools(request, model, body)
    return Chat(
        bodies=seeded(body, request.n or 1),
        usage=bool(request.stream_options and request.stream_options.include_usage),
        names=names,
        several=request.parallel_tool_calls is not False,
        logprobs=bool(request.logprobs),
        affinity=request.prompt_cache_key or "",
    )


def _check_images(request: ChatCompletionRequest, model: ModelInfo) -> None:
    for index, message in enumerate(request.messages):
        if isinstance(message, UserMessage) and isinstance(message.content, list):
            for part in message.content:
                if isinstance(part, ImagePart) and lacks(model, "vision"):
                    raise UserError(
                        f"model {model.id!r} does not see images",
                        hint="send text, or choose a model with the capability 'vision'",
                        code="unsupported_content",
                        param=f"messages.{index}.content",
                    )


def _set_tools(request: ChatCompletionRequest, model: ModelInfo, body: Json) -> frozenset[str]:
    """Write `tools` and `tool_choice` into `body` as the engine needs them; returns the functions to look for."""
    choice = request.tool_choice
    if not request.tools:
        if choice == "none":
            body.pop("tool_choice")
            return frozenset()
        raise UserError("'tool_choice' is only allowed when 'tools' are given", param="tool_choice")
    known = {tool.function.name for tool in request.tools}
    forced = choice.function.name if isinstance(choice, NamedTool) else None
    if forced is not None and forced not in known:
        raise UserError(f"'tool_choice' names {forced!r}, which is not among 'tools'", param="tool_choice")
    if choice == "none" or model.engine != "llama.cpp":
        return frozenset()
    if lacks(model, "tools"):
        raise UserError(
            f"model {model.id!r} was not made to call tools",
            hint="choose a model with the capability 'tools'",
            code="unsupported_parameter",
            param="tools",
        )
    if choice == "required" or forced is not None:
        if body.get("response_format", {}).get("type", "text") != "text":
            raise UserError("a forced tool call leaves no room for 'response_format'", param="response_format")
        body["tool_choice"] = "none"
        body["response_format"] = call_format(body["tools"], forced)
    return frozenset(known)


async def complete(client: Client, chat: Chat) -> Json:
    """The whole answer, in OpenAI's shape and nothing else."""
    answers = await ask_all(client, PATH, chat.bodies, chat.affinity)
    choices = []
    for index, answer in enumerate(answers):
        choice = answer["choices"][0]
        tidy_logprobs(choice)
        choice["message"].setdefault("refusal", None)
        choice["message"].setdefault("content", None)
        if chat.names:
            finish_with_calls(choice, chat.names, several=chat.several)
        choices.append({"logprobs": None, **choice, "index": index})
    first = answers[0]
    return {
        "id": first["id"],
        "object": "chat.completion",
        "created": first["created"],
        "model": first["model"],
        "choices": choices,
        "usage": total_usage([answer.get("usage") or {} for answer in answers]),
        "system_fingerprint": first.get("system_fingerprint"),
    }


async def stream(client: Client, chat: Chat) -> AsyncGenerator[bytes, None]:
    """The chunks of the answer as they go on the wire; the engine's own bytes wherever they are right already."""
    if len(chat.bodies) == 1 and not chat.names and not chat.logprobs:
        async with aclosing(payloads(client, PATH, chat.bodies[0], chat.affinity)) as source:
            async for payload in source:
                yield lean(payload)
        return
    async with aclosing(chunks(client, chat)) as decoded_chunks:
        async for chunk in decoded_chunks:
            yield encode(chunk)


async def chunks(client: Client, chat: Chat) -> AsyncGenerator[Json, None]:
    """The chunks of the answer, decoded; those of `n` answers under one id, their usage together at the end."""
    sources = []
    for body in chat.bodies:
        source = decoded(payloads(client, PATH, body, chat.affinity))
        if chat.names:
            source = stream_with_calls(source, chat.names, several=chat.several)
        sources.append(source)
    head: Json = {}
    usages: list[Json] = [{} for _ in sources]
    async with aclosing(merged(sources)) as stream:
        async for index, chunk in stream:
            usages[index] = chunk.get("usage") or usages[index]
            head = head or {key: chunk.get(key) for key in ("id", "object", "created", "model", "system_fingerprint")}
            if chunk["choices"]:
                choice = chunk["choices"][0]
                tidy_logprobs(choice)
                yield {**head, "choices": [{**choice, "index": index}]}
    if chat.usage and head:
        yield {**head, "choices": [], "usage": total_usage(usages)}
