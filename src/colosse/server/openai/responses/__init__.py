"""`/v1/responses`: answers that are kept, so that the next request can go on from one by its id."""

from colosse.server.openai.responses.routes import router

__all__ = ["router"]
