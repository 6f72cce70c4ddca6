"""The HTTP application: what it is made of and what lives as long as it does.

`python -m colosse.server.app` prints its OpenAPI document.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import APIRouter, Depends, FastAPI, Response
from pydantic import BaseModel

from colosse import __version__
from colosse.core.errors import ColosseError, UserError
from colosse.core.settings import Settings
from colosse.server.api import router as api_router
from colosse.server.auth import Principal, refuse_without_key, require
from colosse.server.errors import ERROR_RESPONSES, install_error_handlers
from colosse.server.guard import Guard
from colosse.server.openai import router as openai_router
from colosse.server.pages import Pages
from colosse.server.runs import Runs
from colosse.server.services import Services, ServicesDep
from colosse.server.skill_runs import SkillRuns
from colosse.store import keys, open_store, queries

if TYPE_CHECKING:
    from colosse.engines.client import Client

log = structlog.get_logger(__name__)

router = APIRouter(responses=ERROR_RESPONSES)


class Health(BaseModel):
    """That the server is up, and which start of it this is."""

    status: str
    version: str
    instance: str
    model: str | None
    state: str


@router.get("/health", operation_id="getHealth", tags=["state"])
async def health(services: ServicesDep) -> Health:
    """Cheap, open to all: `state` is the default model's (`ready`, `loading`, `available`, `failed`), or `none`."""
    try:
        name: str | None = services.client.default_model
    except UserError:
        name = None
    state = next((model.state for model in services.client.models() if model.id == name), "none")
    status = "closing" if services.closing else "ok"
    return Health(status=status, version=__version__, instance=services.instance, model=name, state=state)


@router.get("/metrics", operation_id="getMetrics", tags=["state"], response_class=Response)
async def metrics(_principal: Annotated[Principal, Depends(require("read"))], services: ServicesDep) -> Response:
    """Prometheus' text format; with a key of any scope, or none on this machine."""
    return Response(services.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def create_app(settings: Settings, client: Client | None = None) -> FastAPI:
    """Make the application.

    Its lifespan opens the store (bringing its schema up to date and taking the instance lock), starts the engines and
    marks runs that an earlier server left unfinished as interrupted; at the end it saves the running ones and stops.

    Args:
        settings: this installation's.
        client: answers the requests; closed by the caller. None: an `Engines` of our own.
    """
    services = Services(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        holder = f"pid={os.getpid()} url=http://{settings.host}:{settings.port}"
        async with contextlib.AsyncExitStack() as stack:
            if client is None:
                from colosse.engines.engines import Engines

                services.engines = await stack.enter_async_context(Engines(settings, observe=services.metrics.observe))
                services.client = services.engines
                # First of all, because it takes longest.
                loading = asyncio.create_task(_load_default(services), name="load the default model")
                stack.callback(loading.cancel)
            else:
                services.client = client
            store = services.store = await stack.enter_async_context(open_store(settings.database_url, holder=holder))
            async with store.write() as session:
                await keys.ensure_user(session, keys.LOCAL_USER)
                stale = await queries.interrupt_running(session)
                await refuse_without_key(settings.host, session)
            if stale:
                log.warning("runs of an earlier server are marked interrupted", runs=stale)
            services.runs = await stack.enter_async_context(Runs(services))
            services.skill_runs = await stack.enter_async_context(SkillRuns(services))
            yield

    app = FastAPI(
        title="Colosse",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/openapi.json",
        docs_url=None,  # their pages come from a CDN
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    services.metrics.watch(lambda: _gauges(services))
    install_error_handlers(app)
    app.add_middleware(Guard, services=services)
    app.include_router(router)
    app.include_router(api_router, prefix="/api")
    app.include_router(openai_router, prefix="/v1")
    app.router.default = Pages()
    return app


async def _load_default(services: Services) -> None:
    """Load the default model while requests are answered already."""
    try:
        await services.client.ensure()
    except ColosseError as error:
        log.warning("the default model is not ready", error=str(error))


def _gauges(services: Services) -> Iterable[tuple[str, str, dict[str, str], float]]:
    yield "colosse_runs_running", "Runs being generated.", {}, services.runs.running
    yield "colosse_skill_runs_running", "Skills at work.", {}, services.skill_runs.running
    for model in services.client.models():
        yield "colosse_model_ready", "1 when the model answers at once.", {"model": model.id}, model.state == "ready"
    engines = services.engines
    if engines is None:
        return
    yield "colosse_queued", "Requests that wait for a free engine.", {}, engines.queued
    for row in engines.status():
        labels = {"endpoint": row.name}
        yield "colosse_endpoint_in_flight", "Requests being answered.", labels, row.in_flight
        yield "colosse_endpoint_up", "1 when the endpoint takes requests.", labels, row.state in ("ready", "closed")


def openapi() -> dict[str, Any]:
    """The OpenAPI document, made without starting anything."""
    return create_app(Settings()).openapi()


if __name__ == "__main__":
    print(json.dumps(openapi(), indent=2, ensure_ascii=False))  # noqa: T201 - this is what the module is run for
