"""A streamed answer put together to the answer that would have come without streaming.

llama.cpp does not notice that the caller of a whole answer has left: it generates to the end (measured: still busy 20 s
after the connection was closed or reset). For streams it notices at once, so our own engines are only asked for those.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

_WHOLE = {"chat.completion.chunk": "chat.completion"}
_GIVEN_ONCE = {"role", "id", "type", "name", "index"}


def assemble(payloads: Iterable[bytes]) -> dict[str, Any]:
    """The whole answer of `/chat/completions` or `/completions` from the payloads of its stream."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for payload in payloads:
        chunk = json.loads(payload)
        for piece in chunk.pop("choices", None) or []:
            choice = choices.setdefault(piece["index"], {"index": piece["index"], "finish_reason": None})
            if (delta := piece.get("delta")) is not None:
                _add(choice.setdefault("message", {"role": "assistant", "content": None}), delta)
            if (text := piece.get("text")) is not None:
                choice["text"] = choice.get("text", "") + text
            if piece.get("logprobs"):
                _add(choice.setdefault("logprobs", {}), piece["logprobs"])
            choice["finish_reason"] = piece.get("finish_reason") or choice["finish_reason"]
        whole.update({key: value for key, value in chunk.items() if value is not None})
    whole["object"] = _WHOLE.get(whole.get("object", ""), whole.get("object"))
    return {**whole, "choices": [choices[index] for index in sorted(choices)]}


def _add(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for key, value in piece.items():
        if value is None:
            whole.setdefault(key, None)
        elif key == "tool_calls":
            calls = whole.setdefault(key, [])
            for call in value:
                while len(calls) <= call.get("index", 0):
                    calls.append({})
                _add(calls[call.get("index", 0)], {name: part for name, part in call.items() if name != "index"})
        elif isinstance(value, dict):
            _add(whole.setdefault(key, {}), value)
        elif isinstance(value, str | list) and key not in _GIVEN_ONCE:
            whole[key] = whole[key] + value if whole.get(key) else value
        else:
            whole[key] = value
