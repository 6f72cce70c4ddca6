"""Code written for a task."""

from __future__ import annotations

from colosse.assistant.code.ask import CodePrompts, code_result
from colosse.assistant.code.languages import LANGUAGES
from colosse.assistant.prompts import Language
from colosse.assistant.skill import Listener, Result, Work
from colosse.core.errors import UserError
from colosse.engines.client import Client

WRITE_TOKENS = 1500


async def write(
    client: Client,
    task: str,
    *,
    language: str = "python",
    model: str = "",
    prompt_language: Language = "en",
    listener: Listener | None = None,
) -> Result:
    """Write code for `task`.

    Args:
        client: whom to ask.
        task: what it should do.
        language: fence name of the programming language.
        model: its name; empty: the default.
        prompt_language: language to ask in, and of the remark beside the code.
        listener: hears how it gets on.

    Raises:
        UserError: no task, or one that is too long.
    """
    if not task.strip():
        raise UserError("there is nothing to write: the task is empty", code="empty_input")
    work = await Work.start(client, model, CodePrompts, "code", prompt_language, listener)
    request = work.texts.write.format(language=LANGUAGES[language][0], task=task.strip())
    return await code_result(work, request, language, "", WRITE_TOKENS)
