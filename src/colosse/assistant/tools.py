"""Tools in chat, for models that call them: the web, one's own documents, a Python that runs in the sandbox.

What a tool gives back is quoted to the model as data. Once text from outside was read (a page's, a document's, what a
program made of given files), nothing that leaves the machine carries what the model writes: the web can be searched
only by the calls of a turn that began before. The sandbox has no network and the documents are here, so that those two
stay. Raw pages never reach the model that calls tools: the search reads them in requests of its own and hands back an
answer whose citations were checked.
"""

from __future__ import annotations

import json
import mimetypes
import re
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, get_args

from colosse.assistant.chat import count_tokens, text_of
from colosse.assistant.ground import Source
from colosse.assistant.languages import guess_language, prompt_language
from colosse.assistant.prompts import SkillPrompts, prompts
from colosse.core.errors import ColosseError
from colosse.core.settings import SearchSettings
from colosse.engines.calls import may_become_calls, read_calls
from colosse.engines.client import Client
from colosse.engines.schema import ChatMessage, ChatRequest, Delta, Usage
from colosse.store import Store

ToolName = Literal["search", "documents", "python"]
FUNCTIONS: dict[ToolName, str] = {"search": "web_search", "documents": "search_documents", "python": "run_python"}
MAX_ROUNDS = 6
"""Turns of the model that may call tools; the next one has to answer."""
MAX_CALLS = 4
"""Calls of one turn that are made."""
RESULT_TOKENS = 1500
"""Of one result, at most."""
_CITED = re.compile(r"\[(\d{1,3})\]")
MAX_FILES = 8
MAX_FILES_BYTES = 1_000_000
"""Of all files of an answer together."""


class ToolPrompts(SkillPrompts):
    """What the tools are called for, what the model is told of their results, and what the user is told meanwhile."""

    instructions: str
    web_search: str
    search_documents: str
    run_python: str
    query: str
    code: str
    result: str
    nothing: str
    refused: str
    unknown: str
    wrong_arguments: str
    no_room: str
    step_web_search: str
    step_search_documents: str
    step_run_python: str


class CitedPassage(Source):
    """A source of an answer; one of the user's documents also says which and where."""

    document_id: str = ""
    position: int | None = None


class Toolbox:
    """The tools of one answer, and what came out of them.

    Args:
        client: asked by the search.
        names: the tools that the user switched on.
        messages: the conversation; its language is that of the prompts.
        model: answers, also within the search.
        store: where the documents are.
        owner_id: whose.
        search: where the web is searched.
        files: given by the user, name to content.
        on_step: hears what is being done.
    """

    def __init__(
        self,
        client: Client,
        names: Sequence[ToolName],
        messages: Sequence[ChatMessage],
        *,
        model: str,
        store: Store,
        owner_id: str,
        search: SearchSettings,
        files: Mapping[str, bytes] = {},
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client, self._model, self._store, self._owner_id = client, model, store, owner_id
        self._search = search
        self._names = [name for name in get_args(ToolName) if name in names]
        self._given = dict(files)
        self._on_step = on_step
        asked = next((text_of(message) for message in messages if message.role == "user"), "")
        self.texts = prompts(ToolPrompts, "tools", prompt_language(guess_language(asked)))
        self.outside = False
        """Whether text from outside was read."""
        self.sources: list[CitedPassage] = []
        self.files: dict[str, bytes] = {}
        self.usage = Usage()
        """Tokens of the tools' own requests."""

    def offered(self) -> list[dict[str, Any]]:
        """The tools as a request describes them."""
        return [self._described(name) for name in self._names if not (name == "search" and self.outside)]

    async def use(self, name: str, arguments: str, *, may_leave: bool) -> str:
        """Call a tool; what went wrong is a result as well.

        Args:
            name: its function's.
            arguments: JSON, as the model wrote them.
            may_leave: whether its turn began before text from outside was read.
        """
        texts = self.texts
        known = [FUNCTIONS[tool] for tool in self._names]
        if name not in known:
            return texts.unknown.format(names=", ".join(known))
        if name == "web_search" and not may_leave:
            return texts.refused
        field = "code" if name == "run_python" else "query"
        try:
            given = json.loads(arguments)[field]
            if not isinstance(given, str) or not given.strip():
                raise ValueError
        except (ValueError, KeyError, TypeError):
            return texts.wrong_arguments.format(detail=field)
        self._on_step(getattr(texts, f"step_{name}").format(detail=" ".join(given.split())[:120]))
        try:
            text = await getattr(self, f"_{name}")(given)
        except ColosseError as error:
            text = str(error)
        return text or texts.nothing

    async def _web_search(self, query: str) -> str:
        from colosse.assistant.search import search

        found = await search(
            self._client,
            query,
            settings=self._search,
            store=self._store,
            owner_id=self._owner_id,
            model=self._model,
        )
        self.outside = True
        self.usage = added(self.usage, found.usage)
        numbers = self._cite(found.sources)
        return _CITED.sub(lambda mark: f"[{numbers.get(int(mark[1]), mark[1])}]", found.answer)

    async def _search_documents(self, query: str) -> str:
        from colosse.assistant.documents.search import search_passages

        found = await search_passages(self._store, self._owner_id, query)
        self.outside = self.outside or bool(found)
        numbers = self._cite(found)
        return "\n\n".join(f"[{numbers[one.id]}] {one.title}\n{one.text}" for one in found)

    def _cite(self, sources: Sequence[Source]) -> dict[int, int]:
        """Add sources to those of the answer; their own numbers to the numbers that they have in it."""
        numbers = {}
        for source in sources:
            numbers[source.id] = len(self.sources) + 1
            self.sources.append(CitedPassage.model_validate({**source.model_dump(), "id": numbers[source.id]}))
        return numbers

    async def _run_python(self, code: str) -> str:
        from colosse.assistant.sandbox import PYTHON, run

        inside: dict[str, bytes | str] = {**self._given, **self.files}
        ran = await run([PYTHON, "program.py"], files={**inside, "program.py": code}, keep=["*"])
        self.outside = self.outside or bool(self._given)
        left_out = []
        for name, data in ran.files.items():
            if name == "program.py" or inside.get(name) == data:
                continue
            kept = {**self.files, name: data}
            if len(kept) > MAX_FILES or sum(map(len, kept.values())) > MAX_FILES_BYTES:
                left_out.append(name)
            else:
                self.files = kept
        said = {
            "exit code": ran.exit_code or "",
            "stopped by the limit of": ran.stopped,
            "output": ran.stdout.strip(),
            "errors": ran.stderr.strip()[-2000:],
            "files written": ", ".join(name for name in ran.files if name in self.files),
            "files too large to keep": ", ".join(left_out),
        }
        return "\n".join(f"{what}: {value}" for what, value in said.items() if value)

    def _described(self, name: ToolName) -> dict[str, Any]:
        function = FUNCTIONS[name]
        field = "code" if name == "python" else "query"
        files = ", ".join([*self._given, *self.files]) or "-"
        return {
            "type": "function",
            "function": {
                "name": function,
                "description": getattr(self.texts, function).format(files=files),
                "parameters": {
                    "type": "object",
                    "properties": {field: {"type": "string", "description": getattr(self.texts, field)}},
                    "required": [field],
                },
            },
        }


async def answer_with_tools(
    client: Client, request: ChatRequest, box: Toolbox, *, room: int, affinity: str = ""
) -> AsyncGenerator[Delta, None]:
    """A chat answer for which the model may call tools: its text as it comes, and last the tokens of all requests.

    Args:
        client: whom to ask.
        request: the conversation, without tools.
        box: the tools.
        room: tokens of context that results may take, all together.
        affinity: the conversation, for the engine's prefix cache.
    """
    messages = list(request.messages)
    usage = Usage()
    for turn in range(MAX_ROUNDS + 1):
        tools = box.offered() if turn < MAX_ROUNDS and room > 0 else []
        asked = request.model_copy(update={"messages": messages, "tools": tools or None})
        said: list[str] = []
        calls: list[dict[str, Any]] = []
        async with aclosing(_turn(client, asked, affinity, said, calls)) as steps:
            async for step in steps:
                if step.usage is not None:
                    usage = added(usage, step.usage)
                if step.content or step.reasoning:
                    yield Delta(content=step.content, reasoning=step.reasoning)
        if not calls or not tools:
            break
        may_leave = not box.outside
        messages.append(ChatMessage(role="assistant", content="".join(said), tool_calls=calls))
        for index, call in enumerate(calls):
            function = call["function"]
            told = box.texts.no_room
            if index < MAX_CALLS and room > 0:
                told = await box.use(function["name"], function["arguments"], may_leave=may_leave)
                told = _cut(told, min(RESULT_TOKENS, room))
                room -= count_tokens(told)
            quoted = box.texts.result.format(name=function["name"], text=told.replace("<<<", "").replace(">>>", ""))
            messages.append(ChatMessage(role="tool", tool_call_id=call["id"], content=quoted))
    yield Delta(usage=added(usage, box.usage))


async def _turn(
    client: Client, request: ChatRequest, affinity: str, said: list[str], calls: list[dict[str, Any]]
) -> AsyncGenerator[Delta, None]:
    """One answer of the model: text is passed on unless it turns out to be calls, which go to `calls`."""
    names = [tool["function"]["name"] for tool in request.tools or []]
    held = ""
    holding = bool(names)
    async with aclosing(client.chat(request, affinity=affinity)) as steps:
        async for step in steps:
            for piece in step.tool_calls:
                _merge(calls, piece)
            held += step.content
            if holding and may_become_calls(held):
                step = step.model_copy(update={"content": ""})
            else:
                said.append(held)
                step = step.model_copy(update={"content": held})
                held, holding = "", False
            yield step
    calls += read_calls(held, names) if held and not calls else []
    if held and not calls:
        said.append(held)
        yield Delta(content=held)


def _merge(calls: list[dict[str, Any]], piece: Mapping[str, Any]) -> None:
    """Add one piece of a streamed tool call."""
    index = int(piece.get("index", 0))
    while len(calls) <= index:
        calls.append({"id": f"call_{len(calls)}", "type": "function", "function": {"name": "", "arguments": ""}})
    calls[index]["id"] = piece.get("id") or calls[index]["id"]
    function = piece.get("function") or {}
    calls[index]["function"]["name"] += function.get("name") or ""
    calls[index]["function"]["arguments"] += function.get("arguments") or ""


def _cut(text: str, limit: int) -> str:
    """The beginning of `text`, of about `limit` tokens."""
    tokens = count_tokens(text)
    return text if tokens <= limit else text[: len(text) * limit // tokens] + " […]"


def added(first: Usage, second: Usage) -> Usage:
    """The tokens of both."""
    return Usage(
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        completion_tokens=first.completion_tokens + second.completion_tokens,
        total_tokens=first.total_tokens + second.total_tokens,
    )


def as_file(name: str, data: bytes) -> dict[str, Any]:
    """A file as it is kept with a message; its name says what it is."""
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {"name": name, "media_type": media_type, "content_base64": b64encode(data).decode("ascii")}
