from __future__ import annotations

import httpx2

from colosse.core.settings import Settings
from colosse.server.app import create_app
from tests.fixtures.scripted import Scripted
from tests.server.conftest import running
from tests.server.test_runs import ask, finish, new_thread


def value(text: str, sample: str) -> float:
    """The value of a sample, such as `name{label="x"}`."""
    return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(sample + " "))


async def test_what_is_measured(scripted: Scripted, scripted_settings: Settings) -> None:
    scripted.reply = "un deux trois"
    async with running(create_app(scripted_settings)) as http:
        answer = await finish(http, await ask(http, await new_thread(http)))
        assert answer["content"] == "un deux trois"
        await http.get("/api/threads/thread_1")
        await http.get("/api/threads/thread_2")
        response = await http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = response.text
    assert value(text, 'colosse_runs_total{status="complete"}') == 1
    assert value(text, 'colosse_tokens_total{kind="completion",model="scripted"}') == 3
    assert value(text, 'colosse_ttft_seconds_count{model="scripted"}') == 1
    assert value(text, 'colosse_engine_requests_total{endpoint="scripted",status="ok"}') == 1
    assert value(text, 'colosse_requests_total{method="GET",route="/api/threads/{thread_id}",status="404"}') == 2
    assert value(text, "colosse_runs_running") == 0
    assert value(text, 'colosse_endpoint_in_flight{endpoint="scripted"}') == 0
    assert value(text, 'colosse_endpoint_up{endpoint="scripted"}') == 1
    assert value(text, 'colosse_model_ready{model="scripted"}') == 1


async def test_labels_stay_few_whatever_is_asked(http: httpx2.AsyncClient) -> None:
    for index in range(20):
        await http.get(f"/api/nothing{index}")
        await http.request("PROPFIND", f"/x{index}")
    text = (await http.get("/metrics")).text
    assert text.count("colosse_requests_total{") < 10
    assert "nothing1" not in text
