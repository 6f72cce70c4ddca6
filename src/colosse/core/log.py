"""Structured logs: text on a terminal, JSON lines elsewhere, always to standard error.

What people write and what models answer is logged only when `log.prompts` asks for it: the fields in `PRIVATE` are
dropped from every line otherwise, so that no caller has to remember.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from colosse.core.settings import LogSettings

PRIVATE = frozenset({"prompt", "messages", "content", "reasoning", "answer", "input", "output", "body", "system"})
"""Field names that may hold what people write or models answer."""


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Set up logging for this process; the standard library's loggers come out the same way.

    Args:
        settings: level, format, and whether prompts may be logged.
        stream: where lines go; standard error when None.
    """
    out = stream or sys.stderr
    text = settings.format == "text" or (settings.format == "auto" and out.isatty())
    brief = text and settings.level != "debug"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if brief else "iso", utc=not text),
    ]
    if not settings.prompts:
        shared.append(_drop_private)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if brief:
        last.append(_shorten)
    last += (
        [
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            )
        ]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    # These say at `info` what our own lines say better, or print what a client sent.
    for name in ("alembic", "httpx", "httpx2", "httpcore", "httpcore2", "uvicorn.error", "aiosqlite", "asyncio"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _shorten(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What somebody at a terminal reads: a request is one short line, and nothing says which module wrote it."""
    short = {key: value for key, value in event.items() if key not in ("request_id", "logger", "user")}
    if short.get("event") == "request":
        names = ("method", "route", "status", "ms")
        method, route, status, ms = (short.pop(name, "") for name in names)
        short["event"] = f"{method} {route} {status} in {ms} ms"
    return short


def _drop_private(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: value for key, value in event.items() if key not in PRIVATE}
