"""Tool calls that a model writes as plain or fenced JSON, as Qwen2.5-Coder and other small models do."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection
from typing import Any

_MARKS = re.compile(r"```(?:json|xml|tool_call)?|</?tool_calls?>|</?tools?>")
_DECODER = json.JSONDecoder()


def read_calls(text: str, names: Collection[str]) -> list[dict[str, Any]]:
    """The calls that `text` consists of, in OpenAI's shape; none when it says anything else."""
    rest = _MARKS.sub(" ", text).strip()
    found: list[Any] = []
    while rest:
        try:
            value, end = _DECODER.raw_decode(rest)
        except ValueError:
            return []
        found += value if isinstance(value, list) else [value]
        rest = rest[end:].lstrip(" \t\r\n,;")
    calls = []
    for value in found:
        if not isinstance(value, dict) or value.get("name") not in names:
            return []
        arguments = value.get("arguments", value.get("parameters", {}))
        if not isinstance(arguments, dict):
            return []
        function = {"name": value["name"], "arguments": json.dumps(arguments, ensure_ascii=False)}
        calls.append({"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function})
    return calls


def may_become_calls(text: str) -> bool:
    """Whether an answer that starts with `text` can still turn out to be calls."""
    return text.lstrip()[:1] in ("", "{", "[", "`", "<")
