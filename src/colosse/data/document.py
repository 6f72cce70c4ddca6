"""A document on its way through the steps, and what was noted of those that did not come through."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

EXAMPLES = 4
"""Documents shown per source and rule."""
EXCERPT = 240
"""Characters shown of each."""


@dataclass(slots=True)
class Document:
    """One text.

    Attributes:
        text: what it says.
        name: where it came from: a path, with the row after a colon where the file has rows.
        html: whether `text` is a web page with its tags.
        language: ISO 639-1 code, empty where nobody knows it.
    """

    text: str
    name: str
    html: bool = False
    language: str = ""


class Dropped(NamedTuple):
    """Why a step let a document fall: the rule, and what was measured."""

    rule: str
    detail: str = ""


def excerpt(name: str, text: str, detail: str = "") -> dict[str, str]:
    """An example to keep of a document that fell."""
    return {"document": name, "detail": detail, "text": text[:EXCERPT]}


@dataclass
class Tally:
    """Counts of one chunk or one source; adding two in the order of the documents gives that of both.

    Attributes:
        read: documents that the readers gave; `read_bytes` their UTF-8 length.
        changed: documents that each step rewrote.
        dropped: documents per rule (`step` or `step/rule`); `dropped_bytes` their length at that point.
        examples: rule to the first few documents that fell by it: `{document, detail, text}`.
        languages: documents per identified language.
    """

    read: int = 0
    read_bytes: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_bytes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    languages: Counter[str] = field(default_factory=Counter)

    def drop(self, rule: str, name: str, text: str, detail: str = "", count: int = 0) -> None:
        """Count a document that falls by `rule` and keep it as an example while there are few; `count` in bytes."""
        self.dropped[rule] += 1
        self.dropped_bytes[rule] += count
        kept = self.examples.setdefault(rule, [])
        if len(kept) < EXAMPLES:
            kept.append(excerpt(name, text, detail))

    def add(self, other: Tally) -> None:
        """Take in the counts of documents that come after these."""
        self.read += other.read
        self.read_bytes += other.read_bytes
        for name in ("changed", "dropped", "dropped_bytes", "languages"):
            getattr(self, name).update(getattr(other, name))
        for rule, examples in other.examples.items():
            kept = self.examples.setdefault(rule, [])
            kept.extend(examples[: EXAMPLES - len(kept)])

    def to_json(self) -> dict[str, Any]:
        """JSON of everything, keys in a fixed order."""
        return {
            "read": self.read,
            "read_bytes": self.read_bytes,
            **{n: dict(sorted(getattr(self, n).items())) for n in ("changed", "dropped", "dropped_bytes", "languages")},
            "examples": dict(sorted(self.examples.items())),
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> Tally:
        """What `to_json` wrote."""
        return Tally(
            read=data["read"],
            read_bytes=data["read_bytes"],
            changed=Counter(data["changed"]),
            dropped=Counter(data["dropped"]),
            dropped_bytes=Counter(data["dropped_bytes"]),
            examples=data["examples"],
            languages=Counter(data["languages"]),
        )
