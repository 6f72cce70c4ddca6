"""`/v1/responses` with the official client, against a scripted engine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseItemList, ResponseStreamEvent
from pydantic import TypeAdapter

from colosse.core.settings import Settings
from colosse.server.openai.responses.events import Recorder
from colosse.server.openai.responses.routes import Background
from colosse.store import keys, open_store
from tests.fixtures.scripted import Scripted
from tests.server.live import Live, serve

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "description": None,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": None,
}


@pytest.fixture
def live(scripted_settings: Settings) -> Iterator[Live]:
    with serve(scripted_settings) as live:
        yield live


def stream(live: Live, **body: Any) -> list[dict[str, Any]]:
    """The events of a streamed response, each checked against the official client's own types."""
    text = live.post("/responses", {"stream": True, **body}).text
    found = []
    for frame in text.strip().split("\n\n"):
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        EVENT.validate_python(event, strict=True)
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def test_answer_is_what_the_official_client_expects(live: Live) -> None:
    raw = live.post("/responses", {"input": "hi there", "instructions": "be kind", "metadata": {"a": "b"}})
    assert raw.status_code == 200, raw.text
    answer = Response.model_validate(raw.json(), strict=True)
    assert answer.output_text == "echo: hi there"
    assert (answer.status, answer.model, answer.metadata) == ("completed", "scripted", {"a": "b"})
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (4, 3, 7)


def test_a_stored_response_is_fetched_listed_and_deleted(live: Live) -> None:
    made = live.client.responses.create(model="scripted", input="hi")
    assert live.client.responses.retrieve(made.id) == made
    raw = live.http.get(f"/v1/responses/{made.id}/input_items").json()
    items = ResponseItemList.model_validate(raw, strict=True)
    assert [item.type for item in items.data] == ["message"]
    assert raw["data"][0]["content"] == [{"type": "input_text", "text": "hi"}]
    live.client.responses.delete(made.id)
    for call in (live.client.responses.retrieve, live.client.responses.delete, live.client.responses.cancel):
        with pytest.raises(openai.NotFoundError):
            call(made.id)
    with pytest.raises(openai.NotFoundError):
        live.client.responses.input_items.list(made.id)


def test_without_store_nothing_is_kept(live: Live) -> None:
    made = live.client.responses.create(model="scripted", input="hi", store=False)
    assert made.output_text == "echo: hi"
    with pytest.raises(openai.NotFoundError):
        live.client.responses.retrieve(made.id)


def test_input_items_come_in_pages(live: Live) -> None:
    texts = [f"message {i}" for i in range(5)]
    made = live.client.responses.create(model="scripted", input=[{"role": "user", "content": t} for t in texts])
    listed = live.client.responses.input_items.list(made.id, limit=2, order="asc")
    assert [item.content[0].text for item in listed] == texts  # type: ignore[union-attr]
    newest = live.client.responses.input_items.list(made.id, limit=1).data[0]
    assert newest.content[0].text == texts[-1]  # type: ignore[union-attr]
    with pytest.raises(openai.BadRequestError):
        live.client.responses.input_items.list(made.id, after="msg_none")


def test_the_next_turn_sees_the_ones_before_and_not_their_instructions(live: Live, scripted: Scripted) -> None:
    create = live.client.responses.create
    first = create(model="scripted", input="one", instructions="first rules")
    second = create(model="scripted", input="two", previous_response_id=first.id)
    third = create(model="scripted", input="three", previous_response_id=second.id, instructions="new rules")
    assert third.previous_response_id == second.id
    assert scripted.requests[-1].body["messages"] == [
        {"role": "system", "content": "new rules"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "echo: one"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "echo: two"},
        {"role": "user", "content": "three"},
    ]
    live.client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="scripted", input="four", previous_response_id=third.id)
    assert caught.value.code == "previous_response_not_found"
    assert first.id in caught.value.message


def test_function_calls_round_trip_by_id(live: Live, scripted: Scripted) -> None:
    scripted.reply = lambda body: (
        "It is sunny."
        if body["messages"][-1]["role"] == "tool"
        else [
            {"name": "get_weather", "arguments": {"city": "Paris"}},
            {"name": "get_weather", "arguments": {"city": "Rome"}},
        ]
    )
    create = live.client.responses.create
    first = create(model="scripted", input="weather?", tools=[TOOL], tool_choice="required")
    assert scripted.requests[-1].body["tool_choice"] == "required"
    assert scripted.requests[-1].body["tools"][0]["function"]["name"] == "get_weather"
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["city"] for call in calls] == ["Paris", "Rome"]
    answers: list[Any] = [{"type": "function_call_output", "call_id": c.call_id, "output": "sunny"} for c in calls]
    second = create(model="scripted", input=answers, previous_response_id=first.id, tools=[TOOL])
    assert second.output_text == "It is sunny."
    sent = scripted.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == [message["tool_call_id"] for message in sent[2:]]

    by_hand: list[Any] = [
        {"role": "user", "content": "weather?"},
        *[c.model_dump(exclude_none=True) for c in calls],
        *answers,
    ]
    third = create(model="scripted", input=by_hand, tools=[TOOL], store=False)
    assert third.output_text == "It is sunny."
    assert [m["role"] for m in scripted.requests[-1].body["messages"]] == ["user", "assistant", "tool", "tool"]


def test_options_become_those_of_a_chat_request(live: Live, scripted: Scripted) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    answer = live.client.responses.create(
        model="scripted",
        input=[
            {"role": "developer", "content": "rules"},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        ],
        text={"format": {"type": "json_schema", "name": "person", "schema": schema, "strict": True}},
        temperature=0.5,
        top_p=0.25,
        max_output_tokens=50,
        top_logprobs=2,
        tools=[TOOL],
        tool_choice={"type": "function", "name": "get_weather"},
        extra_body={"seed": 3, "top_k": 5},
    )
    assert json.loads(answer.output_text) == {"age": 0}
    sent = scripted.requests[-1].body
    assert sent["messages"] == [{"role": "developer", "content": "rules"}, {"role": "user", "content": "ab"}]
    assert sent["response_format"]["json_schema"] == {"name": "person", "schema": schema, "strict": True}
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert (sent["temperature"], sent["top_p"], sent["max_completion_tokens"]) == (0.5, 0.25, 50)
    assert (sent["logprobs"], sent["top_logprobs"], sent["seed"], sent["top_k"]) == (True, 2, 3, 5)


def test_stream_tells_every_step_in_order(live: Live, scripted: Scripted) -> None:
    scripted.reasoning = "let me think"
    found = stream(live, input="hi")
    kinds = [event["type"].removeprefix("response.") for event in found]
    assert [kind for i, kind in enumerate(kinds) if kind != kinds[i - 1]] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert found[0]["response"]["status"] == "in_progress"
    assert found[0]["response"]["output"] == []
    text = "".join(event["delta"] for event in found if event["type"] == "response.output_text.delta")
    final = Response.model_validate(found[-1]["response"], strict=True)
    assert text == final.output_text == "echo: hi"
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.usage is not None
    assert live.client.responses.retrieve(final.id) == final


def test_streamed_function_calls(live: Live, scripted: Scripted) -> None:
    scripted.reply = [{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": "get_weather", "arguments": {}}]
    found = stream(live, input="hi", tools=[TOOL])
    done = [event for event in found if event["type"] == "response.function_call_arguments.done"]
    for event in done:
        deltas = [
            e["delta"]
            for e in found
            if e["type"] == "response.function_call_arguments.delta" and e["item_id"] == event["item_id"]
        ]
        assert "".join(deltas) == event["arguments"]
    assert [json.loads(event["arguments"]) for event in done] == [{"city": "Paris"}, {}]
    assert [event["output_index"] for event in done] == [0, 1]


def test_the_clients_own_stream_helper(live: Live) -> None:
    with live.client.responses.stream(model="scripted", input="hi") as events:
        for _ in events:
            pass
        final = events.get_final_response()
    assert final.output_text == "echo: hi"


def test_logprobs_are_in_deltas_and_in_the_part(live: Live) -> None:
    found = stream(live, input="hi", include=["message.output_text.logprobs"])
    deltas = [e["logprobs"][0]["token"] for e in found if e["type"] == "response.output_text.delta"]
    part = found[-1]["response"]["output"][0]["content"][0]
    assert deltas == [token["token"] for token in part["logprobs"]] == ["echo: ", "hi"]


def test_answer_cut_by_its_limit_is_incomplete(live: Live) -> None:
    found = stream(live, input="one two three", max_output_tokens=2)
    assert found[-1]["type"] == "response.incomplete"
    response = live.client.responses.retrieve(found[-1]["response"]["id"])
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text == "echo: one "
    assert response.output[0].status == "incomplete"  # type: ignore[union-attr]


def test_engine_that_breaks_in_the_middle_leaves_a_failed_response(live: Live, scripted: Scripted) -> None:
    scripted.fail_after = 1
    found = stream(live, input="hi")
    assert found[-1]["type"] == "response.failed"
    assert found[-1]["response"]["error"]["code"] == "server_error"
    stored = live.client.responses.retrieve(found[-1]["response"]["id"])
    assert (stored.status, stored.output_text) == ("failed", "echo: ")


def test_leaving_a_stream_cancels_and_keeps_nothing(live: Live, scripted: Scripted) -> None:
    scripted.reply, scripted.tokens_per_second = "word " * 1000, 50
    events = live.client.responses.create(model="scripted", input="hi", stream=True)
    created = next(iter(events))
    assert created.type == "response.created"
    events.close()
    scripted.wait(lambda: scripted.requests[-1].disconnected)
    with pytest.raises(openai.NotFoundError):
        live.client.responses.retrieve(created.response.id)


def wait_for(live: Live, id: str, status: str) -> Response:
    """The response once it has that status."""
    deadline = time.monotonic() + 20
    while (found := live.client.responses.retrieve(id)).status != status:
        assert time.monotonic() < deadline, found.status
        time.sleep(0.02)
    return found


def test_background_response_is_made_with_nobody_waiting(live: Live) -> None:
    queued = live.client.responses.create(model="scripted", input="hi", background=True)
    assert queued.status == "queued"
    assert wait_for(live, queued.id, "completed").output_text == "echo: hi"
    assert live.client.responses.cancel(queued.id).status == "completed"


def test_background_response_is_cancelled_with_what_it_had(live: Live, scripted: Scripted) -> None:
    scripted.reply, scripted.tokens_per_second = "word " * 1000, 50
    queued = live.client.responses.create(model="scripted", input="hi", background=True)
    scripted.wait(lambda: scripted.requests and scripted.requests[-1].sent > 3)
    with pytest.raises(openai.BadRequestError) as caught:
        live.client.responses.create(model="scripted", input="go on", previous_response_id=queued.id)
    assert caught.value.code == "previous_response_unfinished"
    cancelled = live.client.responses.cancel(queued.id)
    assert cancelled.status == "cancelled"
    assert cancelled.output_text.startswith("word word ")
    scripted.wait(lambda: scripted.requests[-1].disconnected)
    assert live.client.responses.retrieve(queued.id) == cancelled


def test_background_response_that_fails_says_why(live: Live, scripted: Scripted) -> None:
    scripted.fail(400, "bad luck", times=1)
    queued = live.client.responses.create(model="scripted", input="hi", background=True)
    failed = wait_for(live, queued.id, "failed")
    assert failed.error is not None
    assert "bad luck" in failed.error.message


def test_deleting_a_background_response_stops_it(live: Live, scripted: Scripted) -> None:
    scripted.reply, scripted.tokens_per_second = "word " * 1000, 50
    queued = live.client.responses.create(model="scripted", input="hi", background=True)
    scripted.wait(lambda: scripted.running == 1)
    live.client.responses.delete(queued.id)
    scripted.wait(lambda: scripted.running == 0)
    with pytest.raises(openai.NotFoundError):
        live.client.responses.retrieve(queued.id)


def test_only_background_responses_are_cancelled(live: Live) -> None:
    made = live.client.responses.create(model="scripted", input="hi")
    with pytest.raises(openai.ConflictError):
        live.client.responses.cancel(made.id)


def test_a_server_that_stops_leaves_no_response_half_made(scripted: Scripted, scripted_settings: Settings) -> None:
    scripted.reply, scripted.tokens_per_second = "word " * 1000, 50
    with serve(scripted_settings) as live:
        queued = live.client.responses.create(model="scripted", input="hi", background=True)
        scripted.wait(lambda: scripted.running == 1)
    with serve(scripted_settings) as live:
        assert live.client.responses.retrieve(queued.id).status == "cancelled"
    scripted.wait(lambda: scripted.running == 0)


def test_what_a_killed_server_left_is_failed_at_the_next_start(scripted_settings: Settings) -> None:
    from colosse.server.openai.responses import stored
    from colosse.server.openai.responses.convert import response_object
    from colosse.server.openai.responses.requests import ResponsesRequest

    async def leave() -> None:
        async with open_store(scripted_settings.database_url) as store:
            async with store.write() as session:
                await keys.ensure_user(session, keys.LOCAL_USER)
            request = ResponsesRequest(input="hi", background=True)
            body = response_object(request, id="resp_left", model="scripted", created_at=1)
            await stored.insert(store, keys.LOCAL_USER, [], body)

    asyncio.run(leave())
    with serve(scripted_settings) as live:
        found = live.client.responses.retrieve("resp_left")
    assert found.status == "failed"
    assert found.error is not None
    assert "stopped" in found.error.message


def test_somebody_elses_response_does_not_exist(scripted_settings: Settings) -> None:
    async def make_keys() -> list[str]:
        async with open_store(scripted_settings.database_url) as store, store.write() as session:
            return [(await keys.create_key(session, name, user=name))[1] for name in ("ann", "bob")]

    ann_key, bob_key = asyncio.run(make_keys())
    with serve(scripted_settings) as live:
        ann, bob = (live.client.with_options(api_key=key) for key in (ann_key, bob_key))
        made = ann.responses.create(model="scripted", input="secret", background=False)
        assert ann.responses.retrieve(made.id).output_text == "echo: secret"
        for other in (bob, live.client):
            for call in (
                other.responses.retrieve,
                other.responses.delete,
                other.responses.cancel,
                other.responses.input_items.list,
            ):
                with pytest.raises(openai.NotFoundError):
                    call(made.id)
            with pytest.raises(openai.BadRequestError) as caught:
                other.responses.create(model="scripted", input="x", previous_response_id=made.id)
            assert caught.value.code == "previous_response_not_found"


async def test_async_client(live: Live) -> None:
    async with live.async_client() as client:
        made = await client.responses.create(model="scripted", input="hi")
        assert (await client.responses.retrieve(made.id)).output_text == "echo: hi"
        events = [e.type async for e in await client.responses.create(model="scripted", input="hi", stream=True)]
    assert events[-1] == "response.completed"


async def test_stopping_a_response_that_is_being_written_waits_for_it() -> None:
    background, may_write, written = Background(), asyncio.Event(), []

    async def write() -> None:
        await may_write.wait()
        written.append("resp_1")

    recorder = Recorder({"id": "resp_1", "status": "completed"})
    background.recorders["resp_1"], background.tasks["resp_1"] = recorder, asyncio.create_task(write())
    stopping = asyncio.create_task(background.stop("resp_1"))
    await asyncio.sleep(0)
    may_write.set()
    await stopping
    assert written == ["resp_1"]
    await background.stop("resp_2")  # which is not being made
