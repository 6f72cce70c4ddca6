"""Code mended."""

from __future__ import annotations

from colosse.assistant.chat import count_tokens
from colosse.assistant.code.ask import CodePrompts, code_result
from colosse.assistant.code.languages import title_of
from colosse.assistant.prompts import Language
from colosse.assistant.skill import Listener, Result, Work
from colosse.engines.client import Client

LOG_TOKENS = 800
"""Of an error log the end is kept: that is where the message is."""


async def fix(
    client: Client,
    code: str,
    *,
    language: str = "python",
    error: str = "",
    model: str = "",
    prompt_language: Language = "en",
    listener: Listener | None = None,
) -> Result:
    """Find and mend the bugs of a file.

    Args:
        client: whom to ask.
        code: the whole file.
        language: fence name of its language; empty: not said.
        error: a traceback or log of what goes wrong; of a long one, the end is used.
        model: its name; empty: the default.
        prompt_language: language to ask in, and of the remark beside the code.
        listener: hears how it gets on.

    Raises:
        UserError: an empty file.
        TooLargeError: a file that the model cannot read and write again whole.
    """
    work = await Work.start(client, model, CodePrompts, "code", prompt_language, listener)
    texts = work.texts
    log = texts.error.format(log=_tail(error)) if error.strip() else ""
    request = texts.fix.format(language=title_of(language), fence=language, code=code.rstrip("\n"), error=log)
    return await code_result(work, request, language, code, 0)


def _tail(log: str) -> str:
    lines = log.strip().splitlines()
    while len(lines) > 1 and count_tokens("\n".join(lines)) > LOG_TOKENS:
        lines = lines[max(1, len(lines) // 8) :]
    return "\n".join(lines)[-4 * LOG_TOKENS :]
