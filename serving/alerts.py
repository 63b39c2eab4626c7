"""`/v1/alerts`: open alerts, and who acknowledged or resolved them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, create_model
from starlette.responses import Response

from orchestration.operations.alerts import Action, AlertError, UnknownAlertError, act
from orchestration.operations.status import NothingBuiltError
from serving.answers import cache_headers, json_answer
from serving.callers import Caller, check_analyst
from serving.catalogue import Mart
from serving.connections import database_away
from serving.errors import ApiError, not_built, not_found
from serving.mart_endpoints import ERRORS, NOT_FOUND, ErrorAnswer, MetaAnswer
from serving.mart_query import MOST_ROWS, MartQuery, Order
from serving.parameters import row_of
from serving.service import caller_of, service_of
from warehouse import database
from warehouse.database import ANALYST

ALERTS = "alert_history"
LONGEST_ID = 1_000


class AlertParameters(BaseModel):
    """Parameters of the list of alerts."""

    model_config = ConfigDict(extra="forbid")

    include_resolved: bool = False


def router_of(mart: Mart) -> APIRouter:
    """Return the endpoints of alerts, which are the rows of a mart."""
    router = APIRouter(prefix="/v1/alerts", tags=["alerts"], responses=ERRORS)
    row = row_of(mart)
    listed = create_model("AlertsAnswer", data=(list[row], ...), meta=(MetaAnswer, ...))  # type: ignore[valid-type]
    acted = create_model("AlertAnswer", data=(row, ...))

    @router.get("", responses={200: {"model": listed}}, summary="Open alerts")
    async def alerts(
        request: Request,
        caller: Annotated[Caller, Depends(caller_of)],
        given: Annotated[AlertParameters, Query()],
    ) -> Response:
        """List open alerts, or all of them, the newest first."""
        query = MartQuery(
            mart,
            tuple(mart.columns),
            filters={} if given.include_resolved else {"resolved": ["false"]},
            order=(Order("created_at", descending=True),),
            limit=MOST_ROWS,
        )
        page = await service_of(request).page(caller, query)
        return json_answer(page, cache_headers(None))

    def action(taken: Action, verb: str) -> None:
        @router.post(
            f"/{{alert_id:path}}/{verb}",
            responses={
                200: {"model": acted},
                **NOT_FOUND,
                409: {"model": ErrorAnswer, "description": "Somebody did so before."},
            },
            summary=f"{verb.capitalize()} an alert",
            operation_id=f"{verb}_alert",
        )
        async def take(
            request: Request,
            caller: Annotated[Caller, Depends(caller_of)],
            alert_id: Annotated[str, Path(max_length=LONGEST_ID)],
        ) -> Response:
            check_analyst(caller)
            if "\0" in alert_id:
                raise _unknown()
            answer = await asyncio.to_thread(_act, alert_id, taken, caller.name)
            return json_answer({"data": answer}, cache_headers(None))

        take.__doc__ = f"Record that somebody has {taken} the alert: the name of the key, and now."

    action(Action.ACKNOWLEDGED, "acknowledge")
    action(Action.RESOLVED, "resolve")
    return router


def _act(alert_id: str, action: Action, by: str) -> Any:
    """Record the action; return the alert as it is then. Raises ApiError."""
    try:
        with database.connect_as_api() as connection, database.connect_as_api() as reader:
            # The mart runs builders' code, so it is read as an analyst; the API's login records.
            reader.execute("select set_config('role', %s, false)", (ANALYST,))
            return act(connection, reader, alert_id, action, by)
    except NothingBuiltError:
        raise not_built(ALERTS) from None
    except UnknownAlertError:
        raise _unknown() from None
    except AlertError as error:
        raise ApiError(409, "already_done", str(error)) from None
    except (database.DatabaseError, psycopg.OperationalError):
        raise database_away() from None


def _unknown() -> ApiError:
    return not_found("There is no such alert.", "GET /v1/alerts lists the open ones.")
