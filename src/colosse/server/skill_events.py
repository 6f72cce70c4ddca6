"""The events of a skill's run: `step`, `parts`, `text`, `partial`, and last `done`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from colosse.assistant.skill import Listener
from colosse.server.events import Clock, Events

TEXT_KEPT = 20_000
"""Characters of the text being written that a snapshot holds: it may be thrown away, and only its end is looked at."""
PARTIALS_KEPT = 2_000
"""Finished parts that a snapshot holds; the result has all of them."""


class SkillLog(Events, Listener):
    """Hears a skill and makes events of what it says.

    Text and parts are merged over `MERGE_S`; a step is an event at once and begins the text anew.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._step = ""
        self._parts: dict[str, int] | None = None
        self._parts_told: dict[str, int] | None = None
        self._text = ""
        self._new: list[str] = []
        self._partials: list[dict[str, Any]] = []

    def step(self, text: str) -> None:
        """What is being done now."""
        self.flush()
        self._step, self._text = text, ""
        self._append("step", {"text": text})

    def parts(self, done: int, total: int) -> None:
        """How much is finished; only the newest number is told."""
        self._parts = {"done": done, "total": total}
        self._changed()

    def text(self, piece: str) -> None:
        """The model wrote this."""
        self._new.append(piece)
        self._changed()

    def partial(self, part: BaseModel) -> None:
        """A part of the result that stays as it is."""
        self.flush()
        data = storable(part.model_dump(mode="json"))
        if len(self._partials) < PARTIALS_KEPT:
            self._partials.append(data)
        self._append("partial", data)

    def flush(self) -> None:
        """Make events of what was added since the last ones."""
        if self.closed:
            return
        if self._parts != self._parts_told:
            self._parts_told = self._parts
            self._append("parts", self._parts)
        if self._new:
            text = "".join(self._new)
            self._new.clear()
            self._text = (self._text + text)[-TEXT_KEPT:]
            self._append("text", {"text": text})

    def snapshot(self) -> dict[str, object]:
        """The last step, how much is finished, the end of the text since that step, the finished parts."""
        return {"step": self._step, "parts": self._parts, "text": self._text, "partials": self._partials}


def storable(value: Any) -> Any:
    """`value` (of JSON) as every database and encoding takes it: NUL and lone surrogates become U+FFFD."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {storable(key): storable(below) for key, below in value.items()}
    if isinstance(value, list):
        return [storable(below) for below in value]
    return value
