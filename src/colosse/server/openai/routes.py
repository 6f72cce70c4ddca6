"""The routes of chat, completions, embeddings and models."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from colosse.core.errors import NotFoundError, nearest
from colosse.engines.schema import ModelInfo
from colosse.server.auth import ChatPrincipal, ReadPrincipal
from colosse.server.openai import completions, embeddings, generation
from colosse.server.openai.answers import ChatCompletion, Completion, EmbeddingList, Model, ModelList, answers
from colosse.server.openai.requests import ChatCompletionRequest, CompletionRequest, EmbeddingRequest
from colosse.server.openai.sse import EventStream, answer, data_frames
from colosse.server.services import Services, ServicesDep

router = APIRouter()

_STREAMED = "`data:` lines with chunks (`{0}`), then `data: [DONE]`."


@router.post(
    "/chat/completions",
    operation_id="createChatCompletion",
    responses=answers(ChatCompletion, streamed=_STREAMED.format("chat.completion.chunk")),
)
async def create_chat_completion(
    body: ChatCompletionRequest, request: Request, _principal: ChatPrincipal, services: ServicesDep
) -> Response:
    """Answer a conversation."""
    chat = await generation.prepare(services.client, body)
    if body.stream:
        return EventStream(data_frames(generation.stream(services.client, chat)))
    return await answer(request, generation.complete(services.client, chat))


@router.post(
    "/completions",
    operation_id="createCompletion",
    responses=answers(Completion, streamed=_STREAMED.format("text_completion")),
)
async def create_completion(
    body: CompletionRequest, request: Request, _principal: ChatPrincipal, services: ServicesDep
) -> Response:
    """Go on from a prompt."""
    job = await completions.prepare(services.client, body)
    if body.stream:
        return EventStream(data_frames(completions.stream(services.client, job)))
    return await answer(request, completions.complete(services.client, job))


@router.post("/embeddings", operation_id="createEmbedding", responses=answers(EmbeddingList))
async def create_embedding(
    body: EmbeddingRequest, request: Request, _principal: ChatPrincipal, services: ServicesDep
) -> Response:
    """Turn texts into vectors."""
    return await answer(request, embeddings.embed(services.client, body))


@router.get("/models", operation_id="listModels", responses=answers(ModelList))
async def list_models(_principal: ReadPrincipal, services: ServicesDep) -> ModelList:
    """The models that can be asked for by name."""
    return ModelList(data=[_model(model, services) for model in services.client.models()])


@router.get("/models/{model_id:path}", operation_id="getModel", responses=answers(Model))
async def get_model(model_id: str, _principal: ReadPrincipal, services: ServicesDep) -> Model:
    """One model; names may hold slashes."""
    known = {model.id: model for model in services.client.models()}
    if model_id not in known:
        raise NotFoundError(
            f"no model {model_id[:200]!r}", hint=nearest(model_id, known), code="model_not_found", param="model"
        )
    return _model(known[model_id], services)


def _model(model: ModelInfo, services: Services) -> Model:
    return Model(
        id=model.id,
        created=int(services.started_at.timestamp()),
        owned_by=model.engine,
        max_model_len=model.max_model_len,
        capabilities=model.capabilities,
        state=model.state,
    )
