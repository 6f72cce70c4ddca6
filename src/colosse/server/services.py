"""What the routes work with: one object per application, found on `app.state.services`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from colosse.core.settings import Settings
from colosse.server.metrics import Metrics
from colosse.store.tables import now

if TYPE_CHECKING:
    from colosse.engines.client import Client
    from colosse.engines.engines import Engines
    from colosse.server.runs import Runs
    from colosse.server.skill_runs import SkillRuns
    from colosse.store import Store


@dataclass
class Services:
    """Everything that lives as long as the application.

    `store`, `client`, `runs` and `skill_runs` are set by the application's lifespan.

    Attributes:
        settings: this installation's.
        instance: a random word that tells this start of the server from any other.
        closing: the server is stopping; streams end and no run starts.
        key_last_used: API key id to the time of its last use, until written to the database.
    """

    settings: Settings
    metrics: Metrics = field(default_factory=Metrics)
    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    started_at: datetime = field(default_factory=now)
    closing: bool = False
    key_last_used: dict[str, datetime] = field(default_factory=dict)
    store: Store = field(init=False)
    client: Client = field(init=False)
    runs: Runs = field(init=False)
    skill_runs: SkillRuns = field(init=False)
    engines: Engines | None = None
    """The client, when it is our own."""

    def close(self) -> None:
        """Begin to stop: no run starts any more, and those that go on end as interrupted. Does not wait."""
        self.closing = True
        if hasattr(self, "runs"):
            self.runs.begin_close()
        if hasattr(self, "skill_runs"):
            self.skill_runs.begin_close()

    @property
    def busy(self) -> int:
        """Runs of every kind that go on or are about to."""
        return self.runs.busy + self.skill_runs.busy


async def services_of(request: Request) -> Services:
    """The services of the application that serves `request`; a coroutine, since others are run in a thread."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(services_of)]
"""For a route's parameter: `services: ServicesDep`."""
