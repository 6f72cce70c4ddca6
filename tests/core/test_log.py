from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from colosse.core import log
from colosse.core.settings import LogSettings


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(settings: LogSettings) -> list[dict[str, object]]:
    """What is written, each line decoded."""
    out = io.StringIO()
    log.configure(settings, out)
    logger = structlog.get_logger("colosse.test")
    structlog.contextvars.bind_contextvars(request_id="r1")
    logger.info("run", model="m", messages=["private"], content="private", ms=1.5)
    logger.debug("detail")
    logging.getLogger("elsewhere").warning("plain %s", "text")
    logging.getLogger("alembic").info("chatter")
    try:
        raise ValueError("inside")
    except ValueError:
        logger.exception("failed")
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_lines_are_json_and_hold_no_prompt() -> None:
    run, plain, failed = lines(LogSettings(format="json"))
    assert (run["event"], run["model"], run["request_id"], run["level"]) == ("run", "m", "r1", "info")
    assert "messages" not in run
    assert "content" not in run
    assert str(run["timestamp"]).endswith("Z")
    assert (plain["event"], plain["level"], plain["logger"]) == ("plain text", "warning", "elsewhere")
    assert "ValueError: inside" in str(failed["exception"])


def test_prompts_are_logged_when_asked_for() -> None:
    run, detail, *_ = lines(LogSettings(format="json", prompts=True, level="debug"))
    assert (run["messages"], run["content"]) == (["private"], "private")
    assert detail["event"] == "detail"


def test_text_for_people() -> None:
    out = io.StringIO()
    log.configure(LogSettings(format="text"), out)
    structlog.get_logger("colosse.test").warning("something", port=8420, prompt="private")
    assert "something" in out.getvalue()
    assert "port=8420" in out.getvalue()
    assert "private" not in out.getvalue()


def test_a_request_is_one_short_line_at_a_terminal() -> None:
    out = io.StringIO()
    log.configure(LogSettings(format="text"), out)
    fields = {"method": "POST", "route": "/api/threads", "status": 201, "ms": 3.2, "request_id": "r1", "user": "local"}
    structlog.get_logger("colosse.server.guard").info("request", **fields)
    assert "POST /api/threads 201 in 3.2 ms" in out.getvalue()
    assert not [word for word in ("r1", "local", "guard") if word in out.getvalue()]
