"""Questions to one's own documents: passages that may answer are found, quoted to the model, and checked after it."""

from __future__ import annotations

from collections.abc import Sequence

from colosse.assistant.cite import CitedSentence, CitePrompts, cited_answer
from colosse.assistant.documents.search import Found, search_passages
from colosse.assistant.languages import guess_language, prompt_language
from colosse.assistant.skill import Listener, Result, Work
from colosse.core.errors import UserError
from colosse.engines.client import Client
from colosse.store import Store

PASSAGES = 6
"""Passages that are quoted to the model, if they fit into its context."""
MAX_QUESTION_CHARS = 2000


class DocumentAnswer(Result):
    """An answer from documents.

    Attributes:
        sources: the passages that the answer cites, with document, page and place.
        sentences: all that the model wrote, with what was left out because no passage supports it.
        found: how many passages were looked at.
    """

    sources: list[Found] = []
    sentences: list[CitedSentence] = []
    found: int = 0


def checked(question: str) -> str:
    """The question on one line.

    Raises:
        UserError: it is empty or too long.
    """
    question = " ".join(question.split())
    if not question or len(question) > MAX_QUESTION_CHARS:
        raise UserError(
            f"a question has 1 to {MAX_QUESTION_CHARS} characters", param="question", code="invalid_question"
        )
    return question


async def answer(
    client: Client,
    store: Store,
    question: str,
    *,
    owner_id: str = "local",
    documents: Sequence[str] = (),
    limit: int = PASSAGES,
    model: str = "",
    listener: Listener | None = None,
) -> DocumentAnswer:
    """Answer a question from the documents of `owner_id`, every sentence with a passage that supports it.

    Args:
        client: whom to ask.
        store: where the documents are.
        question: in any language; it is answered in the same.
        owner_id: whose documents.
        documents: ids; only within these.
        limit: passages to look at.
        model: its name; empty: the default.
        listener: hears how it gets on, and each passage that was found.

    Raises:
        UserError: the question is empty or too long.
    """
    question = checked(question)
    language = prompt_language(guess_language(question))
    work = await Work.start(client, model, CitePrompts, "cite", language, listener)
    work.listener.step("looking into the documents")
    found = await search_passages(store, owner_id, question, limit=limit, documents=documents)
    for one in found:
        work.listener.partial(one)
    work.listener.step("writing the answer")
    cited = await cited_answer(work, question, found)
    numbers = {source.id for source in cited.sources}
    return DocumentAnswer(
        answer=cited.answer,
        verified=cited.verified,
        checks=cited.checks,
        sources=[one for one in found if one.id in numbers],
        sentences=cited.sentences,
        found=len(found),
        **work.cost(),
    )
