"""`/v1/models` and `/v1/embeddings` with the official client, against a scripted engine."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator

import openai
import pytest
from openai.types import CreateEmbeddingResponse, Model

from colosse.core.settings import Settings
from tests.fixtures.scripted import Scripted
from tests.server.live import Live, serve


@pytest.fixture
def live(scripted: Scripted, scripted_settings: Settings) -> Iterator[Live]:
    scripted.model = "maker/scripted-1"
    with serve(scripted_settings.model_copy(update={"model": scripted.model})) as live:
        yield live


def test_models_are_listed_and_found_by_names_with_slashes(live: Live) -> None:
    assert [model.id for model in live.client.models.list()] == ["maker/scripted-1"]
    for path in ("maker/scripted-1", "maker%2Fscripted-1"):
        found = Model.model_validate(live.http.get(f"/v1/models/{path}").json(), strict=True)
        assert (found.id, found.object) == ("maker/scripted-1", "model")
    assert live.client.models.retrieve("maker/scripted-1").created > 1_700_000_000


def test_unknown_model_is_not_found(live: Live) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        live.client.models.retrieve("maker/scripted-2")
    assert caught.value.code == "model_not_found"
    assert "maker/scripted-1" in caught.value.message


def test_embeddings_of_everything_that_can_be_embedded(live: Live, scripted: Scripted) -> None:
    create = live.client.embeddings.create
    one = create(model=scripted.model, input="hello", encoding_format="float").data[0].embedding
    assert len(one) == 8
    several = create(model=scripted.model, input=["hello", "world"], encoding_format="float")
    assert [item.index for item in several.data] == [0, 1]
    assert several.data[0].embedding == one
    assert several.usage.prompt_tokens == 2
    create(model=scripted.model, input=[1, 2, 3])
    create(model=scripted.model, input=[[1, 2], [3]])
    assert [r.body["input"] for r in scripted.requests[-2:]] == [[1, 2, 3], [[1, 2], [3]]]
    raw = live.post("/embeddings", {"input": "hello"})
    CreateEmbeddingResponse.model_validate(raw.json(), strict=True)


def test_base64_holds_the_same_numbers(live: Live) -> None:
    floats = live.post("/embeddings", {"input": "hello"}).json()["data"][0]["embedding"]
    packed = live.post("/embeddings", {"input": "hello", "encoding_format": "base64"}).json()["data"][0]["embedding"]
    assert list(struct.unpack("<8f", base64.b64decode(packed))) == pytest.approx(floats)


def test_dimensions_keeps_the_first_ones_at_length_one(live: Live) -> None:
    whole = live.post("/embeddings", {"input": "hello"}).json()["data"][0]["embedding"]
    short = live.post("/embeddings", {"input": "hello", "dimensions": 3}).json()["data"][0]["embedding"]
    assert math.hypot(*short) == pytest.approx(1)
    assert short == pytest.approx([x / math.hypot(*whole[:3]) for x in whole[:3]])


def test_an_engine_that_cannot_embed_is_a_server_error(live: Live, scripted: Scripted) -> None:
    scripted.fail(500, "no")
    with pytest.raises(openai.InternalServerError):
        live.client.embeddings.create(model=scripted.model, input="x")
