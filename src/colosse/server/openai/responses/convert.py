"""Between the items of `/v1/responses` and the messages of a chat request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from colosse.core.errors import UserError
from colosse.server.errors import from_validation
from colosse.server.openai.requests import ChatCompletionRequest
from colosse.server.openai.responses.requests import ResponsesRequest, SchemaTextFormat
from colosse.store.tables import new_id

Json = dict[str, Any]

_ID_KINDS = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
# Fields that mean the same in both requests, and engine options that neither knows.
_OWN = frozenset(ResponsesRequest.model_fields) - {"model", "temperature", "top_p", "parallel_tool_calls", "user"}


def input_items(request: ResponsesRequest) -> list[Json]:
    """The items of a request as they are stored and listed: each with an id, content always in parts."""
    if isinstance(request.input, str):
        items: list[Json] = [{"role": "user", "content": request.input}]
    else:
        items = [item.wire() for item in request.input]
    return [_normal(item) for item in items]


def _normal(item: Json) -> Json:
    kind = item.get("type", "message")
    given = item.get("id")
    item = {**item, "id": given if isinstance(given, str) and given else new_id(_ID_KINDS[kind]), "type": kind}
    if kind != "reasoning":
        item["status"] = "completed"
    if kind == "message":
        content = item["content"]
        word = "output_text" if item["role"] == "assistant" else "input_text"
        parts = [{"type": word, "text": content}] if isinstance(content, str) else content
        item["content"] = [_normal_part(part) for part in parts]
    return item


def _normal_part(part: Json) -> Json:
    match part["type"]:
        case "output_text":
            return {"annotations": [], **part}
        case "input_image":
            return {"detail": "auto", **part}
    return part


def to_messages(instructions: str | None, items: Sequence[Json]) -> list[Json]:
    """The chat messages of a conversation: instructions first, calls beside the message they belong to."""
    messages: list[Json] = [{"role": "system", "content": instructions}] if instructions else []
    for item in items:
        match item["type"]:
            case "message":
                messages.append({"role": item["role"], "content": _content(item["content"])})
            case "function_call":
                function = {"name": item["name"], "arguments": item["arguments"]}
                call = {"id": item["call_id"], "type": "function", "function": function}
                if messages and messages[-1]["role"] == "assistant":
                    messages[-1].setdefault("tool_calls", []).append(call)
                else:
                    messages.append({"role": "assistant", "tool_calls": [call]})
            case "function_call_output":
                output = item["output"]
                text = output if isinstance(output, str) else "".join(part["text"] for part in output)
                messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": text})
    return messages


def _content(parts: Sequence[Json]) -> str | list[Json]:
    """Text as one string, which every chat template takes; parts only where there is an image."""
    if all(part["type"] != "input_image" for part in parts):
        return "".join(_text(part) for part in parts)
    chat_parts: list[Json] = []
    for part in parts:
        if part["type"] == "input_image":
            image = {"url": part["image_url"], "detail": part["detail"]}
            chat_parts.append({"type": "image_url", "image_url": image})
        else:
            chat_parts.append({"type": "text", "text": _text(part)})
    return chat_parts


def _text(part: Json) -> str:
    return str(part["refusal"] if part["type"] == "refusal" else part["text"])


def to_chat(request: ResponsesRequest, items: Sequence[Json]) -> ChatCompletionRequest:
    """The chat request that answers `request`, whose whole conversation is `items`.

    Raises:
        UserError: an option that only chat requests have is wrong, or there is nothing to answer.
    """
    if (request.model_extra or {}).get("n", 1) != 1:
        raise UserError("'n' is not supported", hint="use /v1/chat/completions", param="n")
    body = {key: value for key, value in request.wire().items() if key not in _OWN}
    body["messages"] = to_messages(request.instructions, items)
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    if request.max_output_tokens is not None:
        body["max_completion_tokens"] = request.max_output_tokens
    if request.top_logprobs or "message.output_text.logprobs" in (request.include or ()):
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
    if request.reasoning is not None and request.reasoning.effort is not None:
        body["reasoning_effort"] = request.reasoning.effort
    if request.prompt_cache_key is not None:
        body["prompt_cache_key"] = request.prompt_cache_key
    if request.tools:
        body["tools"] = [_chat_tool(tool.wire()) for tool in request.tools]
    if request.tool_choice is not None:
        choice = request.tool_choice
        body["tool_choice"] = (
            choice if isinstance(choice, str) else {"type": "function", "function": {"name": choice.name}}
        )
    text_format = request.text.format if request.text else None
    if isinstance(text_format, SchemaTextFormat):
        schema = {key: value for key, value in text_format.wire().items() if key != "type"}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif text_format is not None:
        body["response_format"] = {"type": text_format.type}
    try:
        return ChatCompletionRequest.model_validate(body)
    except ValidationError as error:  # of an option that only the chat request knows, or of a conversation without text
        raise from_validation([dict(each) for each in error.errors()]) from None


def _chat_tool(tool: Json) -> Json:
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def response_object(request: ResponsesRequest, *, id: str, model: str, created_at: int) -> Json:
    """The response before anything is answered."""
    tools = [{"description": None, "parameters": None, "strict": None, **tool.wire()} for tool in request.tools or ()]
    choice = request.tool_choice or "auto"
    text_format: Json = {"type": "text"}
    if request.text and request.text.format:
        text_format = request.text.format.model_dump(by_alias=True, exclude_unset=True)
    return {
        "id": id,
        "object": "response",
        "created_at": created_at,
        "completed_at": None,
        "status": "in_progress",
        "background": bool(request.background),
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "reasoning": {"effort": request.reasoning.effort if request.reasoning else None, "summary": None},
        "service_tier": "default",
        "store": request.store is not False,
        "temperature": request.temperature,
        "text": {"format": text_format, "verbosity": "medium"},
        "tool_choice": choice if isinstance(choice, str) else choice.wire(),
        "tools": tools,
        "top_logprobs": request.top_logprobs or 0,
        "top_p": request.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": request.user,
    }
