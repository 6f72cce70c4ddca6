"""Generated requests to every route: no 5xx, and every answer is what the OpenAPI document says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from colosse.core.settings import EndpointSettings, Settings
from colosse.server.app import create_app
from tests.fixtures.scripted import Scripted
from tests.server.live import Live, serve

CHECKS: Any = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)

schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi())


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    engine = Scripted()
    engine.start()
    endpoint = EndpointSettings(name="scripted", url=engine.url)
    settings = Settings(home=tmp_path_factory.mktemp("home"), endpoints=[endpoint], model="scripted")
    with serve(settings) as live:
        yield live
    engine.stop()


@schema.parametrize()
@settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_routes_keep_to_their_description(case: Any, live: Live) -> None:
    case.call_and_validate(base_url=live.url, checks=CHECKS, headers={"origin": live.url}, timeout=20)
