"""`/v1/marts`: an endpoint for every mart, with the parameters that its contract implies."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field, create_model
from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from serving.answers import (
    cache_headers,
    etag_of,
    is_unchanged,
    json_answer,
    read_page,
)
from serving.callers import Caller
from serving.catalogue import Mart
from serving.errors import ApiError, ErrorAnswer, not_found
from serving.mart_query import MartQuery
from serving.mart_states import MartState, now
from serving.parameters import Parameters, parameters_of, query_of, read_parameters, row_of
from serving.service import caller_of, service_of

CSV = "text/csv"
# What so many query strings ask is kept, of those that are not longer: dashboards and programs send
# the same again, and reading one takes a tenth of the time of a page. A cursor comes but once, and
# holds values of a row.
KEPT_REQUESTS, KEPT_BYTES = 1_000, 2_000
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": description}
    for status, description in {
        400: "A parameter is unknown or has a wrong value.",
        401: "There is no valid key.",
        403: "The key may not read this.",
        429: "The key has made too many requests in this minute.",
        503: "The mart is not built yet, or the database is away or busy.",
    }.items()
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorAnswer, "description": "There is no such thing."}
}


class MetaAnswer(BaseModel):
    """What an answer says of itself."""

    mart: str
    built_as_of: str | None = Field(description="As of when the figures are.")
    batch_seq: int | None = Field(description="The last batch that is in the mart.")
    freshness_seconds: int | None = Field(description="The age of the figures.")
    last_check_status: str | None = Field(
        description="`passed`, `warned`, `failed` or `constraints only`."
    )
    time_zone: str = Field(description="Always UTC.")
    period_complete: bool | None = Field(
        description="Whether the range that was asked for had ended as of the build; false without "
        "a range."
    )
    running_period: str | None = Field(
        description="The period that had not ended as of the build: its rows will change."
    )
    is_dense: bool = Field(
        description="Whether periods without events have rows of zeros. Otherwise they have none."
    )
    next_cursor: str | None = Field(
        default=None, description="`cursor` of the next page; null on the last one."
    )


class ColumnAnswer(BaseModel):
    """A column of a mart."""

    name: str
    type: str
    unit: str | None
    nullable: bool
    description: str


class MartAnswer(BaseModel):
    """A mart."""

    mart: str
    family: str
    grain: str
    description: str
    key: list[str]
    filters: list[str]
    period: list[str] = Field(description="The columns to which `from` and `to` refer.")
    period_unit: str | None
    is_dense: bool
    plans: list[str] = Field(description="The plans that include it; empty for all of them.")
    columns: list[ColumnAnswer]
    built_as_of: str | None
    batch_seq: int | None
    freshness_seconds: int | None
    last_check_status: str | None


class MartsAnswer(BaseModel):
    """The marts that a key may read."""

    data: list[MartAnswer]


def router_of(marts: Mapping[str, Mart]) -> APIRouter:
    """Return the endpoint that lists these marts."""
    router = APIRouter(prefix="/v1/marts", tags=["marts"], responses=ERRORS)

    @router.get("", responses={200: {"model": MartsAnswer}}, summary="The marts of this key")
    async def list_marts(
        request: Request, caller: Annotated[Caller, Depends(caller_of)]
    ) -> Response:
        """List the marts that this key may read, with their columns and how fresh they are."""
        states = await service_of(request).states.all()
        data = [
            about(mart, states.get(name, MartState()))
            for name, mart in marts.items()
            if caller.may_read(mart) and caller.has_plan_for(mart)
        ]
        return json_answer({"data": data}, cache_headers(None))

    return router


def route_of(marts: Mapping[str, Mart]) -> Route:
    """Return the route of all these marts.

    It finds a mart by its name: with a route each, finding one took longer than its query.
    """
    return Route("/v1/marts/{mart}", _Reads(marts), methods=["GET"])


class _Reads:
    """Answers requests for rows of marts.

    An ASGI application: around a function, Starlette would handle errors twice.
    """

    def __init__(self, marts: Mapping[str, Mart]) -> None:
        self._marts = marts
        self._parameters = {name: parameters_of(mart) for name, mart in marts.items()}
        self._asked_again = lru_cache(KEPT_REQUESTS)(self._asked)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        response = await self._read(Request(scope, receive))
        await response(scope, receive, send)

    async def _read(self, request: Request) -> Response:
        request.state.endpoint = "/v1/marts/{mart}"
        caller = await caller_of(request)
        name = request.path_params["mart"]
        if name not in self._marts:
            readable = [one for one, mart in self._marts.items() if caller.may_read(mart)]
            raise _unknown(name, readable)
        mart = self._marts[name]
        request.state.endpoint = f"/v1/marts/{name}"
        caller.check(mart)
        query_string = request.scope["query_string"]
        is_kept = len(query_string) <= KEPT_BYTES and b"cursor=" not in query_string
        asked = self._asked_again if is_kept else self._asked
        query, format = asked(mart.name, query_string)
        return await _answer(request, caller, query, format)

    def _asked(self, mart: str, query_string: bytes) -> tuple[MartQuery, str | None]:
        """Return what a request asks, and the `format` it gives. Raises as its parts do."""
        given = read_parameters(self._parameters[mart], QueryParams(query_string))
        return query_of(self._marts[mart], given), given.format


def described(marts: Mapping[str, Mart]) -> list[BaseRoute]:
    """Return a route for each mart, as FastAPI describes it in /openapi.json."""
    router = APIRouter(prefix="/v1/marts", responses=ERRORS)
    for mart in marts.values():

        async def read(given: Parameters) -> None:
            """Stand for the route of all marts."""

        read.__annotations__["given"] = Annotated[parameters_of(mart), Query()]
        router.add_api_route(
            f"/{mart.name}",
            read,
            methods=["GET"],
            operation_id=mart.name,
            summary=mart.grain,
            description=mart.description,
            tags=[mart.family],
            responses={200: _rows(mart), 304: {"description": "Nothing has changed."}},
        )
    return router.routes


def _unknown(name: str, readable: list[str]) -> ApiError:
    near = difflib.get_close_matches(name, readable, 3)
    return not_found(
        "There is no such mart.",
        f"Did you mean {' or '.join(near)}?" if near else "GET /v1/marts lists all of them.",
    )


async def _answer(
    request: Request, caller: Caller, query: MartQuery, format: str | None
) -> Response:
    service = service_of(request)
    is_csv = _is_csv(request, format)
    state = await service.states.of(query.mart.name)
    etag = etag_of(caller, query, state, "csv" if is_csv else "json")
    headers = cache_headers(etag)
    if is_unchanged(request.headers, etag):
        return Response(status_code=304, headers=headers)
    if is_csv:
        return await service.streams.response(caller, query, state, headers)
    return json_answer(await read_page(service.connections, caller, query, state), headers)


def about(mart: Mart, state: MartState) -> dict[str, Any]:
    """Return what the catalogue says of a mart: a MartAnswer."""
    return {
        "mart": mart.name,
        "family": mart.family,
        "grain": mart.grain,
        "description": mart.description,
        "key": mart.key,
        "filters": [column.name for column in mart.filters],
        "period": mart.period.columns if mart.period else (),
        "period_unit": mart.period.unit if mart.period else None,
        "is_dense": mart.is_dense,
        "plans": mart.plans,
        "columns": [
            {
                "name": column.name,
                "type": column.type,
                "unit": column.unit,
                "nullable": column.nullable,
                "description": column.description,
            }
            for column in mart.columns.values()
        ],
        "built_as_of": state.built_as_of,
        "batch_seq": state.batch_seq,
        "freshness_seconds": state.freshness_seconds(now()),
        "last_check_status": state.last_check_status,
    }


def _is_csv(request: Request, format: str | None) -> bool:
    if format is not None:
        return format == "csv"
    kinds = [
        kind.partition(";")[0].strip() for kind in request.headers.get("accept", "").split(",")
    ]
    return CSV in kinds and "application/json" not in kinds


def _rows(mart: Mart) -> dict[str, Any]:
    page = create_model(
        f"{row_of(mart).__name__.removesuffix('Row')}Page",
        data=(list[row_of(mart)], ...),  # type: ignore[misc]
        meta=(MetaAnswer, ...),
    )
    return {
        "model": page,
        "description": "A page of rows; as CSV all rows, and a last line with their number.",
        "content": {CSV: {"schema": {"type": "string"}}},
    }
