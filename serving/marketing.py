"""`/marketing/stats`: the exported row, for the marketing site."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from serving.answers import json_answer
from serving.callers import given_key, is_from
from serving.errors import forbidden, unavailable
from serving.mart_endpoints import ERRORS
from serving.service import Service, service_of
from warehouse.key_store import DEFAULT_PER_MINUTE, MARKETING_ROLE
from warehouse.keys import KeyKind

PATH = "/marketing/stats"
_ROW = """
    select active_users, questions_answered, pdf_downloads, engagement_rate, updated_at
    from export.analytics_platform_stats
"""

router = APIRouter(tags=["marketing"], responses=ERRORS)


class StatsAnswer(BaseModel):
    """The row of the marketing site."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})

    active_users: int = Field(description="Units with a session in the 30 x 24 h before.")
    questions_answered: int = Field(description="Questions answered ever.")
    pdf_downloads: int = Field(description="PDF downloads ever.")
    engagement_rate: float | None = Field(description="Active users per unit; null without units.")
    updated_at: datetime = Field(description="As of when the figures are.")


@router.get(PATH, responses={200: {"model": StatsAnswer}}, summary="The marketing row")
async def stats(request: Request) -> Response:
    """Return the figures of the marketing site, as they were last exported."""
    service = service_of(request)
    _check(request, service)
    rows = await service.connections.rows(MARKETING_ROLE, _ROW)
    if not rows:
        raise unavailable(
            "not_exported", "Nothing is exported yet.", "It is there after `warehouse export`.", 60
        )
    return json_answer(
        dict(zip(StatsAnswer.model_fields, rows[0], strict=True)),
        {"Cache-Control": "no-store", "Vary": "Authorization"},
    )


def _check(request: Request, service: Service) -> None:
    """Raise ApiError unless the request has a marketing key or comes from an allowed network."""
    callers = service.callers
    if given_key(request) is None and is_from(request, service.settings.marketing_networks):
        address = request.client.host if request.client else ""
        callers.quotas.count(address, DEFAULT_PER_MINUTE[KeyKind.MARKETING])
        return
    key = callers.key(request)
    request.state.key_id = key.key_id
    if key.kind is not KeyKind.MARKETING:
        raise forbidden(
            f"A {key.kind} key does not read the marketing row.",
            "Use a key that `warehouse keys create --kind marketing` made.",
        )
    if (origin := request.headers.get("origin")) and key.origins and origin not in key.origins:
        raise forbidden(f"This key is not for pages of {origin}.")
    callers.quotas.count(key.key_id, key.per_minute)
