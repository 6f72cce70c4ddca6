"""What a run works on: the question in its place of the tree, the branch above it, the thread's title."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from colosse.assistant.tools import as_file
from colosse.core.errors import ConflictError, NotFoundError, UserError
from colosse.engines.schema import ChatMessage
from colosse.server.api import schema
from colosse.store import get_owned
from colosse.store.queries import COMPLETE, RUNNING
from colosse.store.tables import Message, Thread, new_id

TITLE_CHARS = 60


def title_of(text: str) -> str:
    """The first words of a question."""
    line = " ".join(text.split())
    if len(line) <= TITLE_CHARS:
        return line
    cut = line[:TITLE_CHARS]
    return (cut.rpartition(" ")[0] or cut) + "…"


def as_history(path: list[Message]) -> list[ChatMessage]:
    """The messages to send for a branch: roles alternate, as most chat templates demand.

    An answer that failed before its first word leaves nothing; the two questions around it become one message.
    """
    history: list[ChatMessage] = []
    for message in path:
        if not message.content:
            continue
        if history and history[-1].role == message.role:
            history[-1] = ChatMessage(role=history[-1].role, content=f"{history[-1].content}\n\n{message.content}")
        else:
            history.append(ChatMessage(role="user" if message.role == "user" else "assistant", content=message.content))
    return history


async def question_of(session: AsyncSession, thread: Thread, request: schema.RunIn) -> Message:
    """The user message that `request` asks to answer: an existing one, or a new one that is added to `session`.

    Raises:
        NotFoundError: no such message in this thread.
        UserError: nothing to answer, or a place where no question can go.
        ConflictError: the answer above is still being written.
    """
    absent = "parent_id" not in request.model_fields_set
    parent_id = thread.head_id if absent else request.parent_id
    parent = None
    if parent_id is not None:
        parent = await get_owned(session, Message, parent_id, thread.owner_id)
        if parent.thread_id != thread.id:
            raise NotFoundError(f"no message {parent_id[:64]!r} in this thread", param="parent_id")
    if request.content is None:
        if absent and parent is not None and parent.role == "assistant":
            parent = await get_owned(session, Message, str(parent.parent_id), thread.owner_id)
        if parent is None or parent.role != "user":
            raise UserError(
                "there is no question to answer",
                hint="give 'content', or the id of a user message as 'parent_id'",
                param="parent_id" if request.parent_id else "content",
            )
        return parent
    if not request.content.strip():
        raise UserError("'content' is empty", hint="write something", param="content")
    if parent is not None and parent.role != "assistant":
        raise UserError(
            "a question goes below an answer, not below another question",
            hint="to ask it differently, give its own parent_id",
            param="parent_id",
        )
    if parent is not None and parent.status == RUNNING:
        raise ConflictError(
            "the answer before is still being written", hint="wait for it or stop it", param="parent_id"
        )
    question = Message(
        id=new_id("msg"),
        owner_id=thread.owner_id,
        thread_id=thread.id,
        parent_id=parent and parent.id,
        role="user",
        content=request.content,
        files=[as_file(file.name, file.data) for file in request.files] or None,
        status=COMPLETE,
    )
    session.add(question)
    return question
