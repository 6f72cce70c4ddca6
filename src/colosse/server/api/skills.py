"""`/api/skills`: calling a skill, listening to it, stopping it."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from sqlalchemy import select
from starlette.responses import StreamingResponse

from colosse.core.errors import NotFoundError
from colosse.server.api import schema
from colosse.server.api.runs import IdempotencyKey, LastEventId, event_stream, events_response
from colosse.server.auth import ChatPrincipal, ReadPrincipal
from colosse.server.errors import ERROR_RESPONSES
from colosse.server.services import ServicesDep
from colosse.server.skill_runs import list_skill_runs
from colosse.server.skills import SKILLS, Skill
from colosse.store import get_owned
from colosse.store.tables import SkillRun

router = APIRouter(prefix="/skills", tags=["skills"], responses=ERROR_RESPONSES)


@router.get("", operation_id="listSkills")
async def list_skills(_principal: ReadPrincipal) -> list[schema.SkillOut]:
    """The skills, and what each takes."""
    return [schema.SkillOut(name=skill.name, input_schema=skill.input.model_json_schema()) for skill in SKILLS.values()]


@router.get("/runs", operation_id="listSkillRuns")
async def list_runs(
    principal: ReadPrincipal,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str, Query(pattern="^(skill_[0-9a-f]{32,40})?$")] = "",
) -> schema.SkillRunPage:
    """Calls of skills, the newest first."""
    async with services.store.read() as session:
        rows, next_cursor = await list_skill_runs(session, principal.user_id, limit=limit, cursor=cursor)
    return schema.SkillRunPage(items=[schema.SkillRunRow.model_validate(row) for row in rows], next_cursor=next_cursor)


@router.get("/runs/{skill_run_id}", operation_id="getSkillRun")
async def get_run(skill_run_id: str, principal: ReadPrincipal, services: ServicesDep) -> schema.SkillRun:
    """How a call is doing, and its result."""
    async with services.store.read() as session:
        return schema.SkillRun.model_validate(await get_owned(session, SkillRun, skill_run_id, principal.user_id))


@router.get(
    "/runs/{skill_run_id}/events",
    operation_id="getSkillRunEvents",
    response_class=StreamingResponse,
    responses=events_response("`snapshot`, `step`, `parts`, `text`, `partial` and last `done` (`SkillRun`)"),
)
async def get_run_events(
    skill_run_id: str, principal: ReadPrincipal, services: ServicesDep, last_event_id: LastEventId = ""
) -> StreamingResponse:
    """What a skill says, from the event after `Last-Event-ID` or else from its beginning."""
    async with services.store.read() as session:
        row = await get_owned(session, SkillRun, skill_run_id, principal.user_id)
    return event_stream(lambda after: services.skill_runs.events(row, after), last_event_id)


@router.get(
    "/runs/{skill_run_id}/file",
    operation_id="getSkillRunFile",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def get_run_file(skill_run_id: str, principal: ReadPrincipal, services: ServicesDep) -> Response:
    """The file that a call made, such as the translated document, to be saved."""
    async with services.store.read() as session:
        row = await get_owned(session, SkillRun, skill_run_id, principal.user_id)
        if row.file_name is None:
            raise NotFoundError("this run has no file")
        data = await session.scalar(select(SkillRun.file).where(SkillRun.id == row.id))
    named = f"attachment; filename*=UTF-8''{quote(row.file_name, safe='')}"
    return Response(data, media_type="application/octet-stream", headers={"content-disposition": named})


@router.delete("/runs/{skill_run_id}", operation_id="stopSkillRun")
async def stop_run(skill_run_id: str, principal: ChatPrincipal, services: ServicesDep) -> schema.SkillRun:
    """Cancel a call. Cancelling one that has ended changes nothing."""
    async with services.store.read() as session:
        await get_owned(session, SkillRun, skill_run_id, principal.user_id)
    await services.skill_runs.stop(skill_run_id)
    return await get_run(skill_run_id, principal, services)


def _add(skill: Skill) -> None:
    """A route of its own for each skill, so that the OpenAPI document says what it takes."""

    async def start(
        body: Any, principal: ChatPrincipal, services: ServicesDep, idempotency_key: IdempotencyKey = None
    ) -> schema.SkillRun:
        return await services.skill_runs.start(principal.user_id, skill, body, idempotency_key)

    start.__annotations__["body"] = skill.input
    start.__doc__ = skill.input.__doc__
    name = "".join(word.title() for word in skill.name.split("-"))
    router.add_api_route(f"/{skill.name}/runs", start, methods=["POST"], status_code=202, operation_id=f"start{name}")


for _skill in SKILLS.values():
    _add(_skill)
