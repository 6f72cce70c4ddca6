"""The OpenAI-compatible API; the application serves `router` under `/v1`."""

from fastapi import APIRouter, Depends

from colosse.server.openai.requests import check_text
from colosse.server.openai.responses import router as responses_router
from colosse.server.openai.routes import router as routes_router

router = APIRouter(tags=["openai"], dependencies=[Depends(check_text)])
router.include_router(routes_router)
router.include_router(responses_router)

__all__ = ["router"]
