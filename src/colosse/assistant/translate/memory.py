"""The translation memory: segments whose checks passed, kept in the database and found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from sqlalchemy import select

from colosse.assistant.translate.glossary import Term
from colosse.store import Store
from colosse.store.tables import TranslatedSegment

BATCH = 8
"""Finished segments that are written together: what a killed run can lose."""
_LOOKED_UP = 400


def key_of(
    text: str, shape: str, source: str, to: str, terms: Sequence[Term], tone: str, version: int, model: str
) -> str:
    """The key of a segment: all that its translation hangs on.

    Args:
        text: as the model is shown it.
        shape: what an answer must fit besides.
        source: code of its language; empty: unknown.
        to: code of the wanted language.
        terms: of the glossary, those that occur.
        tone: asked for.
        version: of the prompts.
        model: who translates.
    """
    settings = [text, shape, source, to, sorted(terms), tone, version, model]
    return hashlib.sha256(json.dumps(settings, ensure_ascii=False).encode()).hexdigest()


class Memory:
    """What is known of one owner's segments; without a store it knows nothing and keeps nothing."""

    def __init__(self, store: Store | None, owner_id: str) -> None:
        self.store = store
        self.owner_id = owner_id
        self._new: dict[str, TranslatedSegment] = {}

    async def known(self, keys: Iterable[str]) -> dict[str, str]:
        """The translations of those keys that are kept."""
        wanted = list(keys)
        found: dict[str, str] = {}
        if self.store is None:
            return found
        async with self.store.read() as session:
            for start in range(0, len(wanted), _LOOKED_UP):
                rows = await session.execute(
                    select(TranslatedSegment.key, TranslatedSegment.target).where(
                        TranslatedSegment.owner_id == self.owner_id,
                        TranslatedSegment.key.in_(wanted[start : start + _LOOKED_UP]),
                    )
                )
                found |= {row.key: row.target for row in rows}
        return found

    async def keep(self, key: str, source: str, target: str, languages: tuple[str, str], model: str) -> None:
        """Keep a segment; it is on the disk when `BATCH` are together or at `flush`."""
        if self.store is None:
            return
        self._new[key] = TranslatedSegment(
            owner_id=self.owner_id,
            key=key,
            source_language=languages[0],
            target_language=languages[1],
            source=source,
            target=target,
            model=model,
        )
        if len(self._new) >= BATCH:
            await self.flush()

    async def flush(self) -> None:
        """Write what is not written yet; of two runs that found the same segment, the later one's stays."""
        if self.store is None or not self._new:
            return
        rows = dict(self._new)
        async with self.store.write() as session:
            for row in rows.values():
                await session.merge(row)
        for key in rows:  # only now: a write that was interrupted is made again
            self._new.pop(key, None)
