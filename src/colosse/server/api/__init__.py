"""The app's own API, under `/api`."""

from fastapi import APIRouter

from colosse.server.api import state

router = APIRouter()
router.include_router(state.router)

__all__ = ["router"]
