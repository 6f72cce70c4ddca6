"""Embeddings of the passages of each owner, in memory: one product finds what is nearest.

The database has them as well; this copy follows it, also when another process adds or removes documents.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from colosse.assistant import embed
from colosse.store import Store
from colosse.store.tables import Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from colosse.assistant.embed import Vectors

MAX_OWNERS = 16
"""Owners whose embeddings are held; those that searched longest ago are read again when they come back."""
_CHUNK = 20_000


class Nearest:
    """The embeddings of one owner's passages, `[capacity, DIM]`, the first `len(self.ids)` rows in use."""

    def __init__(self) -> None:
        import numpy as np

        self.ids: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._matrix: Vectors = np.zeros((0, embed.DIM), dtype=np.float32)
        self._seen = (0, 0)
        self._lock = asyncio.Lock()

    async def follow(self, store: Store, owner_id: str) -> None:
        """Bring the copy to what the database has now."""
        async with self._lock, store.read() as session:
            count, newest = (
                await session.execute(
                    select(func.count(), func.coalesce(func.max(Passage.id), 0)).where(Passage.owner_id == owner_id)
                )
            ).one()
            if (count, newest) == self._seen:
                return
            known = {int(id) for id in self.ids}
            current = set(await session.scalars(select(Passage.id).where(Passage.owner_id == owner_id)))
            if known - current:
                self._keep(current)
            missing = sorted(current - known)
            for start in range(0, len(missing), _CHUNK):
                chunk = missing[start : start + _CHUNK]
                rows = await session.execute(
                    select(Passage.id, Passage.embedding).where(
                        Passage.owner_id == owner_id,
                        Passage.id.between(chunk[0], chunk[-1]),
                        Passage.embedder == embed.NAME,
                    )
                )
                await asyncio.to_thread(self._append, [(id, blob) for id, blob in rows if blob and id not in known])
            self._seen = (count, newest)

    def nearest(self, vector: Vectors, limit: int, allowed: set[int] | None = None) -> list[int]:
        """The ids of the `limit` passages nearest to `vector`, nearest first. Blocks.

        Args:
            vector: of unit length, `[DIM]`.
            limit: how many.
            allowed: only these ids.
        """
        import numpy as np

        ids, scores = self.ids, self._matrix[: len(self.ids)] @ vector
        if allowed is not None:
            chosen = np.flatnonzero(np.isin(ids, np.fromiter(allowed, dtype=np.int64, count=len(allowed))))
            ids, scores = ids[chosen], scores[chosen]
        best = np.argpartition(-scores, limit)[:limit] if len(scores) > limit else np.arange(len(scores))
        return [int(id) for id in ids[best[np.argsort(-scores[best], kind="stable")]]]

    def _keep(self, current: set[int]) -> None:
        import numpy as np

        kept = np.fromiter((int(id) in current for id in self.ids), dtype=bool, count=len(self.ids))
        self._matrix, self.ids = self._matrix[: len(self.ids)][kept], self.ids[kept]

    def _append(self, rows: list[tuple[int, bytes]]) -> None:
        import numpy as np

        if not rows:
            return
        used, wanted = len(self.ids), len(self.ids) + len(rows)
        if wanted > len(self._matrix):
            grown = np.empty((max(wanted, len(self._matrix) * 5 // 4), embed.DIM), dtype=np.float32)
            grown[:used] = self._matrix[:used]
            self._matrix = grown
        self._matrix[used:wanted] = np.frombuffer(b"".join(blob for _, blob in rows), dtype="<f4").reshape(
            -1, embed.DIM
        )
        self.ids = np.concatenate([self.ids, np.fromiter((id for id, _ in rows), dtype=np.int64, count=len(rows))])


_held: OrderedDict[tuple[str, str], Nearest] = OrderedDict()


async def nearest_of(store: Store, owner_id: str) -> Nearest:
    """The embeddings of `owner_id` as the database has them now."""
    key = (store.name, owner_id)
    held = _held.setdefault(key, Nearest())
    _held.move_to_end(key)
    while len(_held) > MAX_OWNERS:
        _held.popitem(last=False)
    await held.follow(store, owner_id)
    return held
