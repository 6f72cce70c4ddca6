"""`POST /v1/embeddings`."""

from __future__ import annotations

import base64
import math
import struct
from typing import TYPE_CHECKING, Any

from colosse.core.errors import EngineError, UserError
from colosse.server.openai.generation import lacks
from colosse.server.openai.requests import EmbeddingRequest

if TYPE_CHECKING:
    from colosse.engines.client import Client

Json = dict[str, Any]


async def embed(client: Client, request: EmbeddingRequest) -> Json:
    """The vectors of `request.input`.

    `dimensions` keeps the first so many numbers and scales them back to length one, which is how models made for it
    (Matryoshka) are shortened; engines that cannot do it themselves would ignore it.

    Raises:
        NotFoundError: there is no such model.
        UserError: the model does not embed, or has fewer dimensions than asked for.
    """
    request.refuse_slips()
    name = request.model or client.default_model
    model = next((model for model in client.models() if model.id == name), None)
    if model is not None and lacks(model, "embeddings"):
        raise UserError(
            f"model {name!r} does not make embeddings",
            hint="choose a model with the capability 'embeddings'",
            code="unsupported_model",
            param="model",
        )
    asked = request.wire()
    body = {k: v for k, v in asked.items() if k not in ("dimensions", "encoding_format")}
    answer = await client.request("/embeddings", {**body, "model": name, "encoding_format": "float"})
    data = []
    for index, item in enumerate(sorted(answer["data"], key=lambda item: item["index"])):
        vector = item["embedding"]
        if not isinstance(vector, list):
            raise EngineError(f"model {name!r} answered an embedding that is not a list of numbers")
        if request.dimensions is not None:
            vector = _shortened(vector, request.dimensions)
        if request.encoding_format == "base64":
            vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = (answer.get("usage") or {}).get("prompt_tokens", 0)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": answer.get("model") or name, "usage": usage}


def _shortened(vector: list[float], dimensions: int) -> list[float]:
    if dimensions > len(vector):
        raise UserError(f"'dimensions' is {dimensions}, the model has {len(vector)}", param="dimensions")
    length = math.sqrt(sum(x * x for x in vector[:dimensions])) or 1.0
    return [x / length for x in vector[:dimensions]]
