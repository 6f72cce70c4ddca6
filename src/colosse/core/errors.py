"""Every failure a user can meet, each with what, where and how to mend.

ColosseError                 500  exit 1   something of ours or below us failed
├── UnavailableError         503  exit 1   an engine, a hub or a disk is not there right now
├── EngineError              502  exit 1   an engine answered with an error of its own
└── UserError                400  exit 2   the input is wrong
    ├── AuthenticationError  401  exit 2
    ├── PermissionDeniedError 403  exit 2
    ├── NotFoundError        404  exit 2
    ├── ConflictError        409  exit 2
    ├── TooLargeError        413  exit 2
    └── RateLimitError       429  exit 2
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ColosseError(Exception):
    """A failure with one clear line for the user.

    Args:
        message: what went wrong and where, one line.
        hint: how to mend it, one line, without a final full stop being required.
        code: a stable machine-readable word (OpenAI's `error.code`); the class's own when not given.
        param: the name of the request field or option at fault, if any.
    """

    status = 500
    exit_code = 1
    type = "server_error"
    code = "internal_error"

    def __init__(self, message: str, *, hint: str = "", code: str = "", param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.param = param
        if code:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def to_openai(self) -> dict[str, object]:
        """The error as the body that OpenAI's API answers with."""
        return {"error": {"message": str(self), "type": self.type, "param": self.param, "code": self.code}}


class UnavailableError(ColosseError):
    """Something we depend on is not there right now; trying again later may work."""

    status = 503
    code = "unavailable"


class EngineError(ColosseError):
    """An engine failed while answering."""

    status = 502
    code = "engine_error"


class UserError(ColosseError):
    """The input is wrong; the message says how to mend it."""

    status = 400
    exit_code = 2
    type = "invalid_request_error"
    code = "invalid_request"


class AuthenticationError(UserError):
    """No key, or a wrong one."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class PermissionDeniedError(UserError):
    """The key is good and does not allow this."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class NotFoundError(UserError):
    """No such thing, or not yours: the two are not told apart."""

    status = 404
    code = "not_found"


class ConflictError(UserError):
    """The thing is in a state that does not allow this."""

    status = 409
    code = "conflict"


class TooLargeError(UserError):
    """The request is over a limit."""

    status = 413
    code = "too_large"


class RateLimitError(UserError):
    """Too many requests at once."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the known name closest to `name`, else the list of the known names."""
    options = sorted(known)
    close = difflib.get_close_matches(name.lower(), [o.lower() for o in options], n=1, cutoff=0.5)
    if close:
        return f"did you mean {next(o for o in options if o.lower() == close[0])!r}?"
    return "known: " + ", ".join(options) if options else "none is known"
