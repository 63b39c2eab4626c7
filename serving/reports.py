"""`/v1/dashboard` and `/v1/funnel`: figures of marts in the shape that screens show."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Depends, Query, Request
from msgspec.structs import astuple
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from serving.answers import cache_headers, json_answer, meta_of, missing
from serving.callers import Caller
from serving.catalogue import Type, instant_of
from serving.errors import bad_request, not_built
from serving.mart_endpoints import ERRORS, MetaAnswer
from serving.mart_query import MartQuery
from serving.parameters import VALUES
from serving.service import caller_of, service_of
from warehouse.sql_files import read_sql

SUMMARY = "dashboard_summary"
# The mart of whose rows the funnel over any days is made: who may read it, and how fresh it is.
FUNNEL = "conversion_funnel"
_FUNNEL = read_sql(__file__, "funnel")

router = APIRouter(prefix="/v1", tags=["reports"], responses=ERRORS)


class SummaryPeriod(StrEnum):
    """The hours before the last build that a summary covers."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"


class SummaryAnswer(BaseModel):
    """The groups of a summary; `/v1/marts` describes each figure in `dashboard_summary`."""

    data: dict[str, dict[str, Any]]
    meta: MetaAnswer


class SummaryParameters(BaseModel):
    """Parameters of the summary."""

    model_config = ConfigDict(extra="forbid")

    period: SummaryPeriod = SummaryPeriod.DAY


@router.get("/dashboard", responses={200: {"model": SummaryAnswer}}, summary="The last hours")
async def summary(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    given: Annotated[SummaryParameters, Query()],
) -> Response:
    """Return users, system, performance and revenue of the last hours, of all clients together."""
    service = service_of(request)
    mart = service.marts[SUMMARY]
    query = MartQuery(mart, tuple(mart.columns), filters={"period": [given.period]})
    page = await service.page(caller, query)
    if not page.data:
        raise not_built(SUMMARY)
    groups: dict[str, dict[str, Any]] = defaultdict(dict)
    for column, value in zip(mart.columns.values(), astuple(page.data[0]), strict=True):
        if column.group:
            groups[column.group][column.name] = value
    return json_answer({"data": groups, "meta": page.meta}, cache_headers(None))


class FunnelStage(BaseModel):
    """A stage of the funnel, in order."""

    stage: str
    leads: int = Field(description="Leads that reached it in these days.")
    value_cents: int = Field(description="Their value. Unit: cents.")
    conversion_rate: int | None = Field(
        description="Percent of the leads of the stage before; null where that has none."
    )


class FunnelAnswer(BaseModel):
    """The six stages of a funnel."""

    data: list[FunnelStage]
    meta: MetaAnswer


class FunnelParameters(BaseModel):
    """Parameters of the funnel."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: Annotated[VALUES[Type.DATE], Field(alias="from", description="The first UTC day.")]
    end: Annotated[
        VALUES[Type.DATE], Field(alias="to", description="The first UTC day after the range.")
    ]
    client_id: Annotated[
        VALUES[Type.TEXT] | None,
        Field(description="The client; a tenant's key has one already."),
    ] = None


@router.get("/funnel", responses={200: {"model": FunnelAnswer}}, summary="A funnel over any days")
async def funnel(
    request: Request,
    caller: Annotated[Caller, Depends(caller_of)],
    given: Annotated[FunnelParameters, Query()],
) -> Response:
    """Return a client's funnel over any days, computed as in `conversion_funnel`."""
    service = service_of(request)
    mart = service.marts[FUNNEL]
    caller.check(mart)
    start: date = given.start
    end: date = given.end
    if start >= end:
        raise bad_request("`from` must be before `to`, which is not included.")
    client_id = given.client_id or caller.client_id
    if client_id is None:
        raise bad_request("Which client?", "An analyst's key names one with `client_id`.")
    state = await service.states.of(FUNNEL)
    try:
        rows = await service.connections.rows(
            caller.role,
            _FUNNEL,
            {"client_id": client_id, "first_day": start, "last_day": end - timedelta(days=1)},
        )
    except _NOT_THERE as error:
        raise missing(error, mart, state) from None
    stages = [dict(zip(FunnelStage.model_fields, row, strict=True)) for row in rows]
    query = MartQuery(mart, tuple(mart.columns), instant_of(start), instant_of(end))
    return json_answer({"data": stages, "meta": meta_of(query, state)}, cache_headers(None))


_NOT_THERE = (
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.InsufficientPrivilege,
)
