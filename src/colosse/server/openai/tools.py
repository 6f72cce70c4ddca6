"""Tool calls on engines that leave them to the model.

llama.cpp shows the tools to the model in its own template and reads calls written exactly as the template asks. It
lets a model that must call a tool talk first, and misses calls that are written as plain or fenced JSON, which is how
Qwen2.5-Coder and other small models write them. So a forced call becomes a JSON schema that the engine enforces, and
an answer that is nothing but calls is read as calls.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from typing import Any

from colosse.engines.calls import may_become_calls, read_calls

Json = dict[str, Any]


def call_format(tools: Sequence[Json], name: str | None) -> Json:
    """The `response_format` whose only values are calls of `tools`, or of the one called `name`."""
    options: list[Json] = []
    shared: Json = {}
    for tool in tools:
        function = tool["function"]
        if name in (None, function["name"]):
            parameters = dict(function.get("parameters") or {"type": "object", "properties": {}})
            shared |= parameters.pop("$defs", {})  # references inside point at the root
            options.append(
                {
                    "type": "object",
                    "properties": {"name": {"const": function["name"]}, "arguments": parameters},
                    "required": ["name", "arguments"],
                    "additionalProperties": False,
                }
            )
    schema = {"anyOf": options, "$defs": shared} if shared else {"anyOf": options}
    return {"type": "json_schema", "json_schema": {"name": "call", "strict": True, "schema": schema}}


def finish_with_calls(choice: Json, names: Collection[str], *, several: bool) -> None:
    """Turn the whole answer `choice` into the calls that its text consists of, if it does."""
    message = choice["message"]
    if message.get("tool_calls") or choice["finish_reason"] != "stop":
        return
    if calls := read_calls(message.get("content") or "", names):
        message["content"], message["tool_calls"] = None, calls if several else calls[:1]
        choice["finish_reason"] = "tool_calls"


async def stream_with_calls(
    chunks: AsyncGenerator[Json, None], names: Collection[str], *, several: bool
) -> AsyncGenerator[Json, None]:
    """The chunks of one answer; text is held back for as long as it may turn out to be calls."""
    held: list[Json] = []
    text, holding = "", True
    async with aclosing(chunks):
        async for chunk in chunks:
            choice = chunk["choices"][0] if chunk["choices"] else None
            if choice is None or not holding:
                yield chunk
                continue
            delta = choice["delta"]
            text += delta.get("content") or ""
            ended = choice.get("finish_reason")
            if not ended and not delta.get("tool_calls") and may_become_calls(text):
                if delta.get("content"):
                    held.append(chunk)
                else:
                    yield chunk
                continue
            calls = read_calls(text, names) if ended == "stop" else []
            if calls:
                kept = [{"index": i, **call} for i, call in enumerate(calls if several else calls[:1])]
                yield {**chunk, "choices": [{**choice, "delta": {"tool_calls": kept}, "finish_reason": None}]}
                yield {**chunk, "choices": [{**choice, "delta": {}, "finish_reason": "tool_calls"}]}
            else:
                for earlier in held:
                    yield earlier
                yield chunk
            held, holding = [], False
