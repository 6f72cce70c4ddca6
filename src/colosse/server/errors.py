"""Every failure leaves the server in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from colosse.core.errors import ColosseError, NotFoundError, UserError

log = structlog.get_logger(__name__)


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Body of every answer that is not a success."""

    error: ErrorDetail


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request is wrong; `param` names the field."},
    "5XX": {"model": ErrorBody, "description": "An engine failed or is not there."},
}
"""For `responses=` of every router: the errors that any route may answer with."""


class MethodNotAllowedError(UserError):
    """The address exists, for other methods."""

    status = 405
    code = "method_not_allowed"


class UnsupportedMediaTypeError(UserError):
    """A body that is not JSON."""

    status = 415
    code = "unsupported_media_type"


def error_response(error: ColosseError) -> JSONResponse:
    """The answer for `error`."""
    headers = {"www-authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse(_encodable(error.to_openai()), error.status, headers)


def as_colosse_error(error: BaseException) -> ColosseError:
    """`error` as one of ours; anything unexpected is logged with its traceback and told without it."""
    if isinstance(error, ColosseError):
        return error
    log.error("internal error", exc_info=error)
    return ColosseError("internal error", hint="the server's log has the details under this request's id")


def install_error_handlers(app: FastAPI) -> None:
    """Make `app` answer every failure in OpenAI's shape.

    Unexpected exceptions are not here: the guard answers them (`guard.py`), since it stands outside everything.
    """

    async def ours(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ColosseError)  # noqa: S101 - registered for this class
        return error_response(error)

    async def framework(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101
        if isinstance(error.__cause__, ColosseError):  # raised while the body was read, such as one too large
            return error_response(error.__cause__)
        response = error_response(_from_http(request, error))
        response.headers.update(error.headers or {})
        if error.status_code == 405:
            response.headers["allow"] = _allowed(request)
        return response

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return error_response(from_validation(list(error.errors())))

    app.add_exception_handler(ColosseError, ours)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)


def from_validation(errors: list[dict[str, Any]]) -> UserError:
    """The first of pydantic's errors as one line: where and what."""
    first = errors[0]
    if first["type"] == "json_invalid":
        detail = first.get("ctx", {}).get("error", "")
        return UserError(f"malformed JSON at character {first['loc'][-1]}: {detail}", code="invalid_json")
    where = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    param = ".".join(where) or None
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "missing" and not param:
        return UserError("the request has no body", hint="send a JSON object", code="invalid_json")
    return UserError(f"{param or 'body'}: {message}", code="invalid_value", param=param)


def _from_http(request: Request, error: HTTPException) -> ColosseError:
    if error.status_code == 404:
        return NotFoundError(f"nothing is at {request.method} {request.url.path[:200]}")
    if error.status_code == 405:
        hint = f"try {_allowed(request)}"
        return MethodNotAllowedError(f"{request.method} is not possible at {request.url.path[:200]}", hint=hint)
    kind = UserError if error.status_code < 500 else ColosseError
    converted = kind(str(error.detail))
    converted.status = error.status_code
    return converted


def _allowed(request: Request) -> str:
    """Every method that this address has; the framework names only those of the first route that matches."""
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    routes = request.app.routes
    return ", ".join(
        method
        for method in methods
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    )


def _encodable(value: Any) -> Any:
    """`value` with lone surrogates (possible in what a client sent, which messages quote) made printable."""
    if isinstance(value, dict):
        return {key: _encodable(below) for key, below in value.items()}
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
