"""The app's own API, under `/api`."""

from fastapi import APIRouter

from colosse.server.api import documents, runs, skills, state, threads

router = APIRouter()
for part in (state, threads, runs, skills, documents):
    router.include_router(part.router)

__all__ = ["router"]
