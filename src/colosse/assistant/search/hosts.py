"""What is kept of each host while this process runs: whose turn it is, and its robots.txt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

_MAX_HOSTS = 1000
_RULES_S = 3600.0
_hosts: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Host]] = WeakKeyDictionary()


class Host:
    """One origin: one request at a time, its robots.txt read once an hour."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._last = -1e9
        self._rules: Any = None
        self._rules_until = 0.0

    @property
    def idle(self) -> bool:
        """Whether nobody uses it right now."""
        return not (self._lock.locked() or self._reading.locked())

    @asynccontextmanager
    async def turn(self, delay_s: float) -> AsyncIterator[None]:
        """Wait until nobody else asks this host, and `delay_s` after the last who did."""
        async with self._lock:
            await asyncio.sleep(max(0.0, self._last + delay_s - time.monotonic()))
            try:
                yield
            finally:
                self._last = time.monotonic()

    async def rules(self, agent: str, read: Callable[[], Awaitable[str | None]]) -> Callable[[str], bool]:
        """What `agent` may read here.

        Args:
            agent: our name in robots.txt.
            read: the file's text; None when it cannot be read, and then nothing may be.
        """
        async with self._reading:
            if time.monotonic() >= self._rules_until:
                from protego import Protego

                text = await read()
                self._rules = Protego.parse(text if text is not None else "User-agent: *\nDisallow: /")
                self._rules_until = time.monotonic() + (_RULES_S if text is not None else 60.0)
        rules = self._rules
        return lambda url: bool(rules.can_fetch(url, agent))


def host_of(origin: str) -> Host:
    """The host of `origin` in the running loop."""
    hosts = _hosts.setdefault(asyncio.get_running_loop(), {})
    if len(hosts) >= _MAX_HOSTS:
        for name in [name for name, host in hosts.items() if host.idle]:
            del hosts[name]
    return hosts.setdefault(origin, Host())
