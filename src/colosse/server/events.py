"""The events of one run: written once, read by anybody, any number of times.

`Events` is what every kind of run shares, `EventLog` the one of a chat answer; a skill's is in `skill_events.py`.
What is added as it comes leaves merged over `MERGE_S`: one clock for all runs flushes those that have something. Events
are kept as bytes that are ready to send, shared by all readers, and only the last `KEPT` of them: a reader that is too
far behind, or that names an event that is not there, gets a `snapshot` of everything so far instead. So neither a slow
reader nor a long answer costs memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator

MERGE_S = 0.04
"""Text that comes within this time leaves as one event; short enough to look like typing."""
KEPT = 256
"""Events that can be replayed: 10 seconds of a fast answer, which outlasts a lost connection."""
KEEP_ALIVE_S = 15.0
"""A reader that hears nothing for so long gets a comment, so that proxies leave the connection open."""
_KEEP_ALIVE = b": keep-alive\n\n"


def encode_event(id: int, name: str, data: object) -> bytes:
    """One server-sent event.

    Line breaks that only Unicode knows are escaped: the format allows them, and clients split at them all the same.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    if not text.isascii():
        text = text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f"id: {id}\nevent: {name}\ndata: {text}\n\n".encode("utf-8", "replace")


class Clock:
    """Flushes the logs that have something to say, all at once; sleeps while none has.

    The pause is counted from the end of a round, so that a machine that cannot keep up merges more rather than falls
    behind.
    """

    def __init__(self) -> None:
        self._due: set[Events] = set()
        self._wake = asyncio.Event()

    def add(self, log: Events) -> None:
        """Flush `log` at the next round."""
        if not self._due:
            self._wake.set()
        self._due.add(log)

    async def run(self) -> None:
        """Go round until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                await asyncio.sleep(MERGE_S)
                due, self._due = self._due, set()
                for log in due:
                    log.flush()


class Events:
    """What one run has said so far, and who is waiting for more; a subclass says what a snapshot of it is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: deque[bytes] = deque(maxlen=KEPT)
        self._last = 0  # id of the newest event
        self._heard = 0.0  # when something was last flushed
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False
        self.readers = 0

    @property
    def closed(self) -> bool:
        """Whether the last event is there."""
        return self._closed

    def flush(self) -> None:
        """Make events of what was added since the last ones."""
        raise NotImplementedError

    def snapshot(self) -> dict[str, object]:
        """Everything so far."""
        raise NotImplementedError

    def close(self, done: object) -> None:
        """Add the last event, `done`; readers leave after it."""
        self.flush()
        self._append("done", done)
        self._closed = True

    async def read(self, after: int | None = None) -> AsyncIterator[bytes]:
        """Events after the one with id `after` and then as they come; a snapshot first when that is not possible."""
        position = after
        self.readers += 1
        try:
            while True:
                if position is None or not self._last - len(self._events) <= position <= self._last:
                    self.flush()
                    yield encode_event(self._last - self._closed, "snapshot", self.snapshot())
                    # The last event is not text: who gets a snapshot needs it too.
                    position = self._last - self._closed
                elif position < self._last:
                    behind = self._last - position
                    events = list(self._events)[-behind:] if behind > 1 else [self._events[-1]]
                    position = self._last
                    yield b"".join(events)
                elif self._closed:
                    return
                elif not await self._wait():
                    yield _KEEP_ALIVE
        finally:
            self.readers -= 1

    def keep_alive(self) -> None:
        """Let readers that have heard nothing for `KEEP_ALIVE_S` send a comment."""
        if time.monotonic() - self._heard >= KEEP_ALIVE_S:
            self._release()

    def _changed(self) -> None:
        """Flush with the next round; what is very first at once."""
        if self._last:
            self._clock.add(self)
        else:
            self.flush()

    def _append(self, name: str, data: object) -> None:
        self._last += 1
        self._heard = time.monotonic()
        self._events.append(encode_event(self._last, name, data))
        self._release()

    def _release(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def _wait(self) -> bool:
        """Wait for an event; False when it was only `keep_alive`."""
        last = self._last
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            with contextlib.suppress(KeyError):
                self._waiting.remove(future)
        return self._last != last


class EventLog(Events):
    """The events of a chat answer: `delta`s of its text, and `step`s that say what is done before it comes."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._text: dict[str, list[str]] = {"content": [], "reasoning": []}  # what events hold
        self._new: dict[str, list[str]] = {"content": [], "reasoning": []}  # what they do not yet
        self._step = ""
        self.size = 0
        """Characters so far."""

    @property
    def content(self) -> str:
        """The answer so far."""
        return self._joined("content")

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return self._joined("reasoning")

    def add(self, content: str = "", reasoning: str = "") -> None:
        """Append text; it leaves with the next flush, the very first at once."""
        if content:
            self._new["content"].append(content)
        if reasoning:
            self._new["reasoning"].append(reasoning)
        self.size += len(content) + len(reasoning)
        self._changed()

    def step(self, text: str) -> None:
        """What is being done now, such as a search, in a few words."""
        self.flush()
        self._step = text
        self._append("step", {"text": text})

    def flush(self) -> None:
        """Make an event of what was added since the last one."""
        if self._closed:
            return
        delta = {}
        for name, pieces in self._new.items():
            if pieces:
                delta[name] = "".join(pieces)
                self._text[name].append(delta[name])
                pieces.clear()
        if delta:
            self._append("delta", delta)

    def snapshot(self) -> dict[str, object]:
        """All of the text, and the last step."""
        return {"content": self.content, "reasoning": self.reasoning, "step": self._step}

    def _joined(self, name: str) -> str:
        # One long string takes less memory than the many that it came in.
        text = "".join(self._text[name])
        self._text[name] = [text]
        return text + "".join(self._new[name])
