"""What an engine's failure means: which error the user sees, and whether asking again can help.

Error bodies differ: OpenAI and vLLM write a sentence, llama.cpp has fields.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

from colosse.core.errors import (
    ColosseError,
    EngineError,
    NotFoundError,
    RateLimitError,
    TooLargeError,
    UnavailableError,
    UserError,
)

_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_CONTEXT_WORDS = re.compile(
    r"maximum context length|exceeds? the (?:available |model's )?(?:max(?:imum)? )?context|context (?:size|window)"
    r"|longer than the max(?:imum)? model len|too large to process",
    re.I,
)
_LIMIT = re.compile(
    r"(?:maximum context length (?:is|of)|available context size \(|batch size:"
    r"|context (?:size|window|length) (?:of|is)|max(?:imum)? model len(?:gth)? (?:of|is)?)\s*(\d+)",
    re.I,
)
_PROMPT = re.compile(
    r"(\d+) in the messages|(?:request has|resulted in|contains at least|prompt (?:is|has|contains)|request \(|input \("
    r"|\(length)\s*(\d+)",
    re.I,
)
_ASKED = re.compile(r"(\d+) (?:in the completion|output tokens)", re.I)


class Fault(Exception):
    """A failed call of one endpoint.

    Attributes:
        error: what the caller sees if nobody else can answer.
        retry: another endpoint, or the same a moment later, may succeed.
        sick: it speaks against the endpoint's health.
        lacks: the endpoint does not have what the path needs.
        retry_after_s: the pause that the endpoint asked for.
    """

    def __init__(
        self,
        error: ColosseError,
        *,
        retry: bool = False,
        sick: bool = False,
        lacks: bool = False,
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry = retry
        self.sick = sick
        self.lacks = lacks
        self.retry_after_s = retry_after_s


def unreachable(endpoint: str, reason: object) -> Fault:
    """No connection, or one that broke before an answer."""
    text = str(reason) or type(reason).__name__
    return Fault(UnavailableError(f"endpoint {endpoint!r} cannot be reached: {text}"), retry=True, sick=True)


def broken(endpoint: str, reason: object) -> Fault:
    """The connection ended in the middle of an answer."""
    text = str(reason) or type(reason).__name__
    error = EngineError(f"engine {endpoint!r} stopped in the middle of its answer: {text}", hint="ask again")
    return Fault(error, retry=True, sick=True)


def from_answer(endpoint: str, model: str, status: int, body: bytes, retry_after: str = "") -> Fault:
    """The fault that an HTTP answer with an error status, or an error inside a stream, stands for."""
    fields = error_fields(body)
    message = _line(fields.get("message")) or f"HTTP status {status}"
    with contextlib.suppress(KeyError, TypeError, ValueError):  # an error inside a stream has its status here
        status = int(fields["code"]) if 400 <= int(fields["code"]) < 600 else status
    if (too_long := _context_error(model, fields, message)) is not None:
        return Fault(too_long)
    where = f"endpoint {endpoint!r}"
    match status:
        case 401 | 403:
            hint = "check its api_key in the settings"
            return Fault(EngineError(f"{where} refuses our key: {message}", hint=hint, code="endpoint_key"), retry=True)
        case 404 | 405 | 501:
            error = NotFoundError(f"{where}: {message}", code="not_supported", param="model")
            return Fault(error, retry=True, lacks=True)
        case 408 | 409:
            return Fault(UnavailableError(f"{where}: {message}"), retry=True)
        case 413:
            return Fault(TooLargeError(message))
        case 429:
            pause = float(retry_after) if re.fullmatch(r"\d+(\.\d+)?", retry_after) else 0.0
            return Fault(RateLimitError(f"{where}: {message}"), retry=True, retry_after_s=pause)
        case 503:
            return Fault(UnavailableError(f"{where}: {message}"), retry=True, sick=True)
        case _ if 400 <= status < 500:
            param = fields.get("param")
            return Fault(UserError(message, param=param if isinstance(param, str) else None))
    return Fault(EngineError(f"{where}: {message}"), retry=True, sick=True)


def error_fields(body: bytes) -> dict[str, Any]:
    """The `error` object of an answer, whatever its shape; with at least what `message` it can find."""
    try:
        data = json.loads(body)
    except ValueError:
        return {"message": body[:300].decode("utf-8", "replace")}
    if isinstance(data, dict):
        error = data.get("error", data)
        if isinstance(error, dict):
            return {"message": error.get("detail"), **error}
        return {"message": error}
    return {"message": str(data)[:300]}


def _line(message: object) -> str:
    return " ".join(str(message or "").split())[:500]


def _context_error(model: str, fields: dict[str, Any], message: str) -> UserError | None:
    codes = {str(fields.get("code")), str(fields.get("type"))}
    if not (codes & _CONTEXT_CODES or (_CONTEXT_WORDS.search(message))):
        return None
    limit = _number(fields.get("n_ctx")) or _first(_LIMIT, message)
    prompt = _number(fields.get("n_prompt_tokens")) or _first(_PROMPT, message)
    asked = _first(_ASKED, message)
    if not (limit and prompt):
        return UserError(message, code="context_length_exceeded", param="messages")
    hint = f"shorten it to under {limit} tokens, or start a new conversation"
    if prompt < limit and asked:
        hint = f"it leaves room for max_tokens={limit - prompt}, and {asked} were asked for"
    said = f"the prompt is {prompt} tokens long and {model!r} takes {limit}, prompt and answer together"
    return UserError(said, hint=hint, code="context_length_exceeded", param="messages")


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _first(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.search(text)
    return int(next(group for group in found.groups() if group)) if found else 0
