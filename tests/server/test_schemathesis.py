"""Generated requests to every route: no 5xx, and every answer is what the OpenAPI document says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from colosse.core.settings import EndpointSettings, SearchSettings, Settings
from colosse.server.app import create_app
from tests.fixtures.scripted import Scripted
from tests.server.live import Live, serve

CHECKS: Any = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
)

schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi())
schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    engine = Scripted()
    engine.start()
    endpoint = EndpointSettings(name="scripted", url=engine.url)
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        endpoints=[endpoint],
        model="scripted",
        search=SearchSettings(providers=["documents"]),
    )
    with serve(settings) as live:
        yield live
    engine.stop()


OPTIONS: Any = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


def check(case: Any, live: Live) -> None:
    """Send the request and hold the answer against the document."""
    case.call_and_validate(base_url=live.url, checks=CHECKS, headers={"origin": live.url}, timeout=20)


@schema.parametrize()
@settings(max_examples=25, **OPTIONS)
def test_routes_keep_to_their_description(case: Any, live: Live) -> None:
    check(case, live)


@schema.include(path_regex="_id}").parametrize()
@settings(max_examples=6, **OPTIONS)
def test_routes_keep_to_their_description_where_there_is_something(case: Any, live: Live) -> None:
    case.path_parameters |= {name: id for name, id in things(live).items() if name in case.path_parameters}
    check(case, live)


def things(live: Live) -> dict[str, str]:
    """One of everything that a path can name."""
    origin = {"origin": live.url}
    thread = live.http.post("/api/threads", json={}, headers=origin).json()["id"]
    run = live.http.post(f"/api/threads/{thread}/runs", json={"content": "hi"}, headers=origin).json()["run"]["id"]
    response = live.post("/responses", {"input": "hi", "background": True}).json()["id"]
    skill = live.http.post("/api/skills/translate/runs", json={"text": "hi", "to": "fr"}, headers=origin).json()["id"]
    raw = {"content-type": "application/octet-stream", **origin}
    document = live.http.post("/api/documents", params={"name": "a.txt"}, content=b"text", headers=raw).json()["id"]
    ids = {"thread_id": thread, "run_id": run, "response_id": response, "skill_run_id": skill, "document_id": document}
    return {**ids, "model_id": "scripted"}
