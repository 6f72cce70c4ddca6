"""Runs: every answer is a task of its own, which no connection can end.

A run is started by a question, writes to its event log (`events.py`) and, several times a second, to the database
(`saver.py`). It ends by itself, by `stop`, by a fault of the engine, or when the server stops; whatever was said until
then is kept, and the message's status says how it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import structlog
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from colosse.assistant.chat import count_tokens, messages_for, text_of
from colosse.assistant.skill import ASSUMED_MODEL_LEN, Listener
from colosse.assistant.tools import MAX_FILES_BYTES, Toolbox, answer_with_tools, as_file
from colosse.core.errors import ColosseError, NotFoundError, TooLargeError, UserError
from colosse.engines.schema import ChatMessage, ChatRequest, Usage
from colosse.server.api import schema
from colosse.server.conversation import as_history, question_of, title_of
from colosse.server.errors import as_colosse_error, from_validation
from colosse.server.events import EventLog, encode_event
from colosse.server.live import Live, LiveRuns, same_request
from colosse.server.saver import Ending, Saver
from colosse.server.services import Services
from colosse.server.skill_events import storable
from colosse.server.skills import SKILLS, Caller, sources_of
from colosse.store import get_owned, queries
from colosse.store.queries import COMPLETE, FAILED, INTERRUPTED, RUNNING
from colosse.store.tables import Message, Run, Thread, new_id, now

log = structlog.get_logger(__name__)


TURNS = 6
"""Messages before a question that a skill reads to understand it."""


@dataclass(kw_only=True)
class LiveRun(Live):
    """A chat answer in memory; `message` and `run` are what readers see when it has ended."""

    log: EventLog
    owner_id: str
    request: schema.RunIn
    thread_id: str
    message: schema.Message
    run: schema.Run
    params: dict[str, Any]
    system: str
    sources: list[dict[str, Any]] | None = None
    box: Toolbox | None = None

    @property
    def files(self) -> list[dict[str, Any]] | None:
        """What programs of the answer wrote, as it is kept with the message."""
        return [as_file(name, data) for name, data in self.box.files.items()] if self.box and self.box.files else None


class _Steps(Listener):
    """Tells the readers of an answer what a skill does for it."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def step(self, text: str) -> None:
        """What is being done now."""
        self._log.step(text)


@dataclass
class _Tally:
    """What was measured of one answer, in monotonic seconds."""

    start: float = field(default_factory=time.perf_counter)
    first: float | None = None
    last: float = 0.0
    usage: Usage | None = None

    def as_usage(self) -> schema.MessageUsage | None:
        """For the message; None when the engine counted no tokens."""
        if self.usage is None:
            return None
        tokens = self.usage.completion_tokens
        seconds = self.last - (self.first or self.last)
        return schema.MessageUsage(
            prompt_tokens=self.usage.prompt_tokens,
            completion_tokens=tokens,
            ttft_ms=None if self.first is None else round((self.first - self.start) * 1000, 1),
            tokens_per_second=round((tokens - 1) / seconds, 2) if tokens > 1 and seconds > 0 else None,
        )


class Runs(LiveRuns[LiveRun]):
    """Every chat answer of this server."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._saver = Saver(services.store, services.key_last_used)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._tasks.append(asyncio.create_task(self._saver.run(), name="saver"))
        return self

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        with contextlib.suppress(ColosseError):
            await self._saver.write()

    async def start(
        self, owner_id: str, thread_id: str, request: schema.RunIn, idempotency_key: str | None = None
    ) -> schema.RunStarted:
        """Commit the question and begin to answer it.

        Args:
            owner_id: who asks.
            thread_id: where.
            request: the question, or which one to answer again.
            idempotency_key: the caller's own name for this call; a second call with it gets the first one's run.

        Raises:
            NotFoundError: no such thread, message or model.
            UserError: a parent that cannot be answered or asked below.
            TooLargeError: files that are too large to be kept with a message.
            ConflictError: the parent is still being written, or the key was used for another request.
            RateLimitError: too many runs.
            UnavailableError: the server is stopping.
        """
        if sum(len(file.data) for file in request.files) > MAX_FILES_BYTES:
            raise TooLargeError(
                f"the files are over {MAX_FILES_BYTES / 1e6:g} MB together", hint="give smaller ones", param="files"
            )
        fingerprint = hashlib.sha256(f"{thread_id} {request.model_dump_json()}".encode()).hexdigest()
        with self._admitted():
            try:
                async with self._services.store.write() as session:
                    # Locked before looking, so that a call that repeats one still in progress sees it whole.
                    thread = await get_owned(session, Thread, thread_id, owner_id, lock=True)
                    earlier = await self._earlier(session, owner_id, idempotency_key, fingerprint)
                    if earlier is not None:
                        return earlier
                    started = await self._insert(session, thread, request, idempotency_key, fingerprint)
                    system = thread.system
            except IntegrityError:  # on PostgreSQL two calls with one key on two threads can get here together
                async with self._services.store.read() as session:
                    earlier = await self._earlier(session, owner_id, idempotency_key, fingerprint)
                if earlier is None:
                    raise
                return earlier
            self._launch(owner_id, started, request, system)
        return started

    async def stop_thread(self, thread_id: str) -> None:
        """End every run of a thread."""
        for run in [run for run in self._live.values() if run.thread_id == thread_id]:
            await self.stop(run.id)

    def events(self, run: Run, message: Message, after: int | None) -> AsyncIterator[bytes]:
        """The events of a run, as bytes of a server-sent stream.

        Args:
            run: as the database has it; the caller checked its owner.
            message: the one it fills.
            after: the last event that the reader has; None for none.
        """
        live = self._live.get(run.id)
        if live is not None:
            return live.log.read(after)
        return _recorded(run, message)

    async def _earlier(
        self, session: AsyncSession, owner_id: str, idempotency_key: str | None, fingerprint: str
    ) -> schema.RunStarted | None:
        if idempotency_key is None:
            return None
        query = select(Run).where(Run.owner_id == owner_id, Run.idempotency_key == idempotency_key)
        run = await session.scalar(query)
        if run is None:
            return None
        same_request(fingerprint, run.fingerprint)
        question = await get_owned(session, Message, run.user_message_id, owner_id)
        answer = await get_owned(session, Message, run.message_id, owner_id)
        return _started(run, question, answer)

    async def _insert(
        self,
        session: AsyncSession,
        thread: Thread,
        request: schema.RunIn,
        idempotency_key: str | None,
        fingerprint: str,
    ) -> schema.RunStarted:
        model = self._resolve(request.model or thread.model, bool(request.tools) and request.mode == "chat")
        question = await question_of(session, thread, request)
        # Ids are given here, so that all of this is one flush.
        answer = Message(
            id=new_id("msg"),
            owner_id=thread.owner_id,
            thread_id=thread.id,
            parent_id=question.id,
            role="assistant",
            status=RUNNING,
            model=model,
            run_id=new_id("run"),
        )
        run = Run(
            id=answer.run_id,
            owner_id=thread.owner_id,
            thread_id=thread.id,
            message_id=answer.id,
            user_message_id=question.id,
            status=RUNNING,
            model=model,
            params=request.params.given(),
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
        )
        session.add_all((answer, run))
        thread.head_id = answer.id
        thread.updated_at = now()
        thread.title = thread.title or title_of(question.content)
        await session.flush()
        return _started(run, question, answer)

    def _resolve(self, model: str, with_tools: bool) -> str:
        info = self._model(model)
        if with_tools and "tools" not in info.capabilities:
            raise UserError(
                f"{info.id} does not call tools",
                hint="choose a model that does, or mode 'search' or 'documents', which every model can",
                code="tools_not_supported",
                param="tools",
            )
        return info.id

    def _launch(self, owner_id: str, started: schema.RunStarted, request: schema.RunIn, system: str) -> None:
        run = LiveRun(
            id=started.run.id,
            owner_id=owner_id,
            request=request,
            thread_id=started.run.thread_id,
            message=started.message,
            run=started.run,
            params=request.params.given(),
            system=system,
            log=EventLog(self._clock),
        )
        self._live[run.id] = run
        self._saver.watch(run.message.id, run.log)
        run.task = asyncio.create_task(self._generate(run), name=run.id)
        if self._services.closing:
            run.cancel()

    async def _generate(self, run: LiveRun) -> None:
        """The life of a run: answer, then write how that ended, then tell the readers."""
        tally = _Tally()
        status, error, code = COMPLETE, "", ""
        try:
            await self._answer(run, tally)
        except asyncio.CancelledError:
            status, error, code = run.stop_as
        except Exception as failure:
            known = as_colosse_error(failure)
            status, error, code = INTERRUPTED if run.log.size else FAILED, str(known), known.code
            log.warning("run failed", run=run.id, model=run.run.model, error=error)
        run.ending = True
        await self._finish(run, status, error, code, tally)

    async def _answer(self, run: LiveRun, tally: _Tally) -> None:
        client = self._services.client
        async with self._services.store.read() as session:
            path = await queries.path_to(session, str(run.message.parent_id))
        history = as_history(path)
        if not history:
            raise NotFoundError("the thread was deleted")
        if run.request.mode != "chat":
            await self._cited(run, path[-1].content, history[:-1], tally)
            return
        if run.request.tools:
            run.box = Toolbox(
                client,
                run.request.tools,
                history,
                model=run.run.model,
                store=self._services.store,
                owner_id=run.owner_id,
                search=self._services.settings.search,
                files={file["name"]: b64decode(file["content_base64"]) for row in path for file in row.files or ()},
                on_step=run.log.step,
            )
        room = (await client.ensure(run.run.model)).max_model_len
        while True:
            # Half of the context is left to what tools give back.
            own = room // 2 if room and run.box else room
            fitted = messages_for(history, run.system, own, max_tokens=run.params.get("max_tokens")).messages
            if run.box:
                system = f"{text_of(fitted[0])}\n\n{run.box.texts.instructions}"
                fitted[0] = fitted[0].model_copy(update={"content": system})
            request = ChatRequest(model=run.run.model, messages=fitted, stream=True, **run.params)
            log.debug("run", run=run.id, model=run.run.model, messages=[m.model_dump() for m in fitted])
            try:
                await self._stream(run, request, tally)
                return
            except UserError as error:
                # The lengths were estimates; the engine has counted. Its error stays when nothing is left to drop.
                only_last = sum(message.role == "user" for message in fitted) <= 1
                if error.code != "context_length_exceeded" or only_last or run.log.size:
                    raise
                room = min(room or 2**31, sum(count_tokens(text_of(m)) for m in fitted)) * 3 // 4

    async def _stream(self, run: LiveRun, request: ChatRequest, tally: _Tally) -> None:
        # One thread's requests share a beginning: the engine that has it cached should get them.
        client = self._services.client
        if run.box is None:
            answer = client.chat(request, affinity=run.thread_id)
        else:
            room = (await client.ensure(request.model)).max_model_len or ASSUMED_MODEL_LEN
            answer = answer_with_tools(client, request, run.box, room=room // 3, affinity=run.thread_id)
        async with contextlib.aclosing(answer) as deltas:
            async for delta in deltas:
                if delta.content or delta.reasoning:
                    run.log.add(delta.content, delta.reasoning)
                    tally.last = time.perf_counter()
                    if tally.first is None:
                        tally.first = tally.last
                if delta.usage is not None:
                    tally.usage = delta.usage

    async def _cited(self, run: LiveRun, question: str, history: list[ChatMessage], tally: _Tally) -> None:
        """Answer with the skill of the run's mode, whose citations are checked."""
        skill = SKILLS[run.request.mode]
        services = self._services
        before = [{"role": message.role, "content": text_of(message)} for message in history[-TURNS:]]
        asked = {"question": question, "history": before, "model": run.run.model}
        by = Caller(services.client, services.store, run.owner_id, services.settings.search, _Steps(run.log))
        try:
            given = skill.input.model_validate(asked)
        except ValidationError as error:
            raise from_validation([dict(one) for one in error.errors()]) from None
        result = await skill.call(by, given)
        run.sources = sources_of(result)
        run.log.add(result.answer)
        tally.first = tally.last = time.perf_counter()
        tally.usage = result.usage

    async def _finish(self, run: LiveRun, status: str, error: str, code: str, tally: _Tally) -> None:
        usage = tally.as_usage()
        if run.box is not None and run.box.sources:
            run.sources = [storable(source.model_dump()) for source in run.box.sources]
        moment: datetime = now()
        await self._saver.end(
            Ending(
                run_id=run.id,
                message_id=run.message.id,
                log=run.log,
                status=status,
                error=error,
                error_code=code,
                usage=None if usage is None else usage.model_dump(),
                sources=run.sources,
                files=run.files,
                finished_at=moment,
            )
        )
        ended = {"status": status, "error": error, "error_code": code}
        run.run = run.run.model_copy(update={**ended, "finished_at": moment})
        run.message = run.message.model_copy(
            update={
                **ended,
                "content": run.log.content,
                "reasoning": run.log.reasoning,
                "usage": usage,
                "sources": None
                if run.sources is None
                else [schema.Source.model_validate(source) for source in run.sources],
                "files": None if run.files is None else [schema.FileOut.model_validate(file) for file in run.files],
            }
        )
        run.finished = time.monotonic()
        run.log.close(schema.Done(run=run.run, message=run.message).model_dump(mode="json"))
        self._services.metrics.runs.labels(status).inc()


def _started(run: Run, question: Message, answer: Message) -> schema.RunStarted:
    return schema.RunStarted(
        run=schema.Run.model_validate(run),
        user_message=schema.Message.model_validate(question),
        message=schema.Message.model_validate(answer),
    )


async def _recorded(run: Run, message: Message) -> AsyncIterator[bytes]:
    """The events of a run that is not in memory any more: all of its text, then how it ended."""
    yield encode_event(1, "snapshot", {"content": message.content, "reasoning": message.reasoning, "step": ""})
    done = schema.Done(run=schema.Run.model_validate(run), message=schema.Message.model_validate(message))
    yield encode_event(2, "done", done.model_dump(mode="json"))
