"""Embeddings of the passages of each owner, in memory: what is nearest is found without the database.

The database has them as well; this copy follows it, also when another process adds or removes documents. It takes
1.1 kB a passage: the signs of the 512 numbers, 64 bytes by which all passages are compared, and the numbers in half
precision, by which the likely ones are (Charikar, "Similarity estimation techniques from rounding algorithms", 2002).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from colosse.assistant import embed
from colosse.store import Store
from colosse.store.tables import Document, Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from colosse.assistant.embed import Vectors

MAX_HELD = 500_000
"""Passages whose embeddings are held, of all owners together (550 MB); those of who searched longest ago go first."""
LIKELY = 2000
"""Passages that are compared exactly, as measured by `benchmarks/retrieval.py`."""
_CHUNK = 20_000


class Nearest:
    """The embeddings of one owner's passages; what the arrays have beyond `len(self.ids)` passages is room for more."""

    def __init__(self) -> None:
        import numpy as np

        self.ids: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._exact: NDArray[np.float16] = np.zeros((0, embed.DIM), dtype=np.float16)
        self._signs: NDArray[np.uint64] = np.zeros((embed.DIM // 64, 0), dtype=np.uint64)
        self._seen = (0, 0)
        self._lock = asyncio.Lock()

    async def follow(self, store: Store, owner_id: str) -> None:
        """Bring the copy to what the database has now."""
        async with self._lock, store.read() as session:
            # Removing a document lowers their number, adding one raises the highest id: none is ever used again.
            count = select(func.count()).select_from(Document).where(Document.owner_id == owner_id)
            newest = select(func.coalesce(func.max(Passage.id), 0)).where(Passage.owner_id == owner_id)
            seen = (await session.execute(select(count.scalar_subquery(), newest.scalar_subquery()))).one()
            if tuple(seen) == self._seen:
                return
            known = set(self.ids.tolist())
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
            self._seen = (seen[0], seen[1])

    def nearest(self, vector: Vectors, limit: int, allowed: set[int] | None = None) -> dict[int, float]:
        """The ids and similarities of the `limit` passages nearest to `vector`, nearest first. Blocks.

        Args:
            vector: of unit length, `[DIM]`.
            limit: how many.
            allowed: only these ids.
        """
        import numpy as np

        ids = self.ids
        exact, signs = self._exact[: len(ids)], self._signs[:, : len(ids)]
        if allowed is not None:
            chosen = np.flatnonzero(np.isin(ids, np.fromiter(allowed, dtype=np.int64, count=len(allowed))))
            ids, exact, signs = ids[chosen], exact[chosen], signs[:, chosen]
        if len(ids) > LIKELY:
            differing = np.zeros(len(ids), dtype=np.uint16)
            for held, wanted in zip(signs, _signs(vector[None]), strict=True):
                differing += np.bitwise_count(held ^ wanted)
            likely = np.argpartition(differing, LIKELY)[:LIKELY]
            ids, exact = ids[likely], exact[likely]
        scores = exact.astype(np.float32) @ vector
        best = np.lexsort((ids, -scores))[:limit]
        return dict(zip(ids[best].tolist(), scores[best].tolist(), strict=True))

    def _keep(self, current: set[int]) -> None:
        import numpy as np

        kept = np.flatnonzero([id in current for id in self.ids.tolist()])
        self._exact, self._signs, self.ids = self._exact[kept], self._signs[:, kept], self.ids[kept]

    def _append(self, rows: list[tuple[int, bytes]]) -> None:
        import numpy as np

        if not rows:
            return
        used, wanted = len(self.ids), len(self.ids) + len(rows)
        if wanted > len(self._exact):
            room = max(wanted, used * 5 // 4) - used
            self._exact = np.pad(self._exact[:used], ((0, room), (0, 0)))
            self._signs = np.pad(self._signs[:, :used], ((0, 0), (0, room)))
        read = np.frombuffer(b"".join(blob for _, blob in rows), dtype="<f4").reshape(-1, embed.DIM)
        self._exact[used:wanted], self._signs[:, used:wanted] = read, _signs(read)
        self.ids = np.concatenate([self.ids, np.fromiter((id for id, _ in rows), dtype=np.int64, count=len(rows))])


def _signs(vectors: Vectors) -> NDArray[np.uint64]:
    """One bit for each number, set where it is above zero: `[DIM / 64, len(vectors)]`."""
    import numpy as np

    return np.packbits(vectors > 0, axis=1).view(np.uint64).T


_held: OrderedDict[tuple[str, str], Nearest] = OrderedDict()


async def nearest_of(store: Store, owner_id: str) -> Nearest:
    """The embeddings of `owner_id` as the database has them now."""
    key = (store.name, owner_id)
    held = _held.setdefault(key, Nearest())
    _held.move_to_end(key)
    await held.follow(store, owner_id)
    while len(_held) > 1 and sum(len(one.ids) for one in _held.values()) > MAX_HELD:
        _held.popitem(last=False)
    return held
