"""A database with a user, of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from colosse.store import Store, keys, open_store


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as store:
        async with store.write() as session:
            await keys.ensure_user(session, keys.LOCAL_USER)
        yield store
