"""Code made faster. Whether it is, is not measured here yet."""

from __future__ import annotations

from colosse.assistant.code.ask import CodePrompts, code_result
from colosse.assistant.code.languages import title_of
from colosse.assistant.prompts import Language
from colosse.assistant.skill import Listener, Result, Work
from colosse.engines.client import Client


async def optimize(
    client: Client,
    code: str,
    *,
    language: str = "python",
    model: str = "",
    prompt_language: Language = "en",
    listener: Listener | None = None,
) -> Result:
    """Make a file faster; arguments and errors as for `fix`. How much faster, if at all, is not measured here."""
    work = await Work.start(client, model, CodePrompts, "code", prompt_language, listener)
    request = work.texts.optimize.format(language=title_of(language), fence=language, code=code.rstrip("\n"))
    return await code_result(work, request, language, code, 0)
