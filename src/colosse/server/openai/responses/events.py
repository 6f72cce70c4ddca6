"""A response as it grows: chat chunks in, OpenAI's typed events out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from colosse.core.errors import ColosseError
from colosse.store.tables import new_id

Json = dict[str, Any]


class Recorder:
    """Fills `response` from the chunks of a chat answer and tells each step as an event.

    An event holds parts of `response` itself, so encode it before asking for the next one.
    """

    def __init__(self, response: Json) -> None:
        self.response = response
        self._sequence = 0
        self._item: Json | None = None
        self._pieces: list[str] = []
        self._call_index: int | None = None
        self._finish_reason = ""

    def start(self) -> Iterator[Json]:
        """The events before the first token."""
        self.response["status"] = "in_progress"
        yield self._event("response.created", response=self.response)
        yield self._event("response.in_progress", response=self.response)

    def feed(self, chunk: Json) -> Iterator[Json]:
        """The events of one chunk."""
        if usage := chunk.get("usage"):
            self.response["usage"] = _usage(usage)
        for choice in chunk["choices"]:
            delta = choice["delta"]
            if text := delta.get("reasoning_content"):
                yield from self._open("reasoning")
                yield self._piece("response.reasoning_text.delta", text, content_index=0)
            if text := delta.get("content"):
                yield from self._open("message")
                assert self._item is not None  # noqa: S101 - just opened
                tokens = (choice.get("logprobs") or {}).get("content") or []
                self._item["content"][0]["logprobs"] += tokens
                yield self._piece("response.output_text.delta", text, content_index=0, logprobs=tokens)
            for call in delta.get("tool_calls") or ():
                yield from self._feed_call(call)
            self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def finish(self) -> Iterator[Json]:
        """The events after the last token."""
        cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self._finish_reason)
        yield from self._close("incomplete" if cut else "completed")
        self.response["status"] = "incomplete" if cut else "completed"
        self.response["incomplete_details"] = {"reason": cut} if cut else None
        self.response["completed_at"] = None if cut else int(time.time())
        yield self._event(f"response.{self.response['status']}", response=self.response)

    def fail(self, error: ColosseError) -> Iterator[Json]:
        """The events of a failure in the middle; what was answered up to there is kept."""
        yield from self._close("incomplete")
        self.response["status"] = "failed"
        code = "server_error" if error.status >= 500 else "invalid_prompt"
        self.response["error"] = {"code": code, "message": str(error)}
        yield self._event("response.failed", response=self.response)

    def cancel(self) -> None:
        """End in the middle because somebody wants it so; nobody listens to the events."""
        for _ in self._close("incomplete"):
            pass
        self.response["status"] = "cancelled"

    def _event(self, kind: str, **fields: Any) -> Json:
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return event

    def _place(self) -> Json:
        assert self._item is not None  # noqa: S101 - only called with an open item
        return {"item_id": self._item["id"], "output_index": len(self.response["output"]) - 1}

    def _piece(self, kind: str, text: str, **fields: Any) -> Json:
        self._pieces.append(text)
        return self._event(kind, **self._place(), **fields, delta=text)

    def _open(self, kind: str, call: Json | None = None) -> Iterator[Json]:
        """Open an item of `kind` unless one is open already."""
        if call is None and self._item is not None and self._item["type"] == kind:
            return
        yield from self._close("completed")
        item: Json
        if kind == "message":
            item = {"id": new_id("msg"), "type": kind, "role": "assistant", "status": "in_progress", "content": []}
        elif kind == "reasoning":
            item = {"id": new_id("rs"), "type": kind, "status": "in_progress", "summary": [], "content": []}
        else:
            function = (call or {}).get("function") or {}
            call_id = (call or {}).get("id") or new_id("call")
            item = {"id": new_id("fc"), "type": kind, "status": "in_progress", "call_id": call_id}
            item |= {"name": function.get("name") or "", "arguments": ""}
        self._item, self._pieces = item, []
        self.response["output"].append(item)
        yield self._event("response.output_item.added", output_index=self._place()["output_index"], item=item)
        if kind != "function_call":
            part = _part(kind)
            yield self._event("response.content_part.added", **self._place(), content_index=0, part=part)
            item["content"].append(part)

    def _feed_call(self, call: Json) -> Iterator[Json]:
        if self._item is None or self._item["type"] != "function_call" or call["index"] != self._call_index:
            yield from self._open("function_call", call)
            self._call_index = call["index"]
        if arguments := (call.get("function") or {}).get("arguments"):
            yield self._piece("response.function_call_arguments.delta", arguments)

    def _close(self, status: str) -> Iterator[Json]:
        item = self._item
        if item is None:
            return
        place, text = self._place(), "".join(self._pieces)
        if item["type"] == "function_call":
            item["arguments"] = text
            yield self._event("response.function_call_arguments.done", **place, name=item["name"], arguments=text)
        else:
            part = item["content"][0]
            part["text"] = text
            if item["type"] == "reasoning":
                yield self._event("response.reasoning_text.done", **place, content_index=0, text=text)
            else:
                logprobs = part["logprobs"]
                yield self._event("response.output_text.done", **place, content_index=0, text=text, logprobs=logprobs)
            yield self._event("response.content_part.done", **place, content_index=0, part=part)
        item["status"] = status
        self._item = None
        yield self._event("response.output_item.done", output_index=place["output_index"], item=item)


def _part(kind: str) -> Json:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": ""}
    return {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


def _usage(usage: Json) -> Json:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    prompt, completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }
