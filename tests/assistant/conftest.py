"""A client whose only model is the scripted one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from colosse.core.settings import Settings
from colosse.engines.engines import Engines


@pytest.fixture
async def client(scripted_settings: Settings) -> AsyncIterator[Engines]:
    async with Engines(scripted_settings) as engines:
        yield engines
