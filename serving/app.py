"""Puts the HTTP API together."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from serving import alerts, docs, marketing, mart_endpoints, reports, sign_in
from serving.answers import json_answer
from serving.catalogue import Mart
from serving.dashboard import site
from serving.errors import ApiError, bad_request, not_found
from serving.middleware import AccessLog, CompressForPeople, CorsOf, SafeHeaders
from serving.service import Service
from warehouse.settings import Settings

logger = logging.getLogger("warehouse.api")
TITLE = "Analytics warehouse"
ABOUT = """\
Marts of the warehouse. A key decides what is read: `Authorization: Bearer KEY`. All days are UTC; a
range `from`, `to` includes its start, not its end. Every answer says how fresh and checked it is.
"""


def create_app(settings: Settings) -> FastAPI:
    """Return the application. Raises CatalogueError, DatabaseError or SettingError."""
    service = Service.of(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title=TITLE,
        description=ABOUT,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # It would tell values of parameters, and what errors quote.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        lifespan=lifespan,
        # In the order in which they are looked for: what is asked for most comes first.
        routes=[
            mart_endpoints.route_of(service.marts),
            *site.routes(service.marts),
            *docs.routes(),
        ],
    )
    app.state.service = service
    app.include_router(marketing.router)
    app.include_router(mart_endpoints.router_of(service.marts))
    app.include_router(reports.router)
    app.include_router(sign_in.router)
    app.include_router(alerts.router_of(service.marts[alerts.ALERTS]))
    description = cache(partial(_openapi, app, service.marts, prefix_of(settings)))

    @app.get("/openapi.json", include_in_schema=False)
    def openapi() -> Response:
        return json_answer(description(), {"Cache-Control": "no-cache"})

    app.add_exception_handler(ApiError, _refused)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _invalid_call)  # type: ignore[arg-type]
    app.add_exception_handler(ValidationError, _invalid_parameters)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _not_served)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _failed)
    # The last one is the outermost.
    app.add_middleware(CorsOf, path=marketing.PATH, origins=settings.marketing_origins)
    app.add_middleware(CompressForPeople)
    app.add_middleware(SafeHeaders)
    app.add_middleware(AccessLog, calls=service.calls)
    return app


def prefix_of(settings: Settings) -> str:
    """Return the path that a proxy removes from addresses before it asks the API."""
    return urlsplit(settings.api_url).path.rstrip("/")


def _openapi(app: FastAPI, marts: Mapping[str, Mart], prefix: str) -> dict[str, Any]:
    """Return the description of the API: every endpoint needs a key."""
    description = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=[*app.routes, *mart_endpoints.described(marts)],
        servers=[{"url": prefix or "/"}],
    )
    description["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    description["security"] = [{"key": []}]
    for path in description["paths"].values():
        for operation in path.values():
            # Wrong parameters are answered as all errors are: 400.
            operation["responses"].pop("422", None)
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _given(parameter["schema"])
    for name in ("HTTPValidationError", "ValidationError"):
        description["components"]["schemas"].pop(name, None)
    return description


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that is given: one that is left out has no value."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        rest = {name: value for name, value in schema.items() if name != "anyOf"}
        return kinds[0] | rest
    return schema | {"anyOf": kinds} if kinds else schema


async def _refused(request: Request, error: ApiError) -> Response:
    request.state.error = error.error
    return error.response()


async def _invalid_call(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    return await _refused(request, _invalid(first, first["loc"][1:]))


async def _invalid_parameters(request: Request, error: ValidationError) -> Response:
    first = error.errors(include_url=False)[0]
    return await _refused(request, _invalid(first, first["loc"]))


def _invalid(first: Mapping[str, Any], place: Sequence[int | str]) -> ApiError:
    """Return the answer to a wrong parameter: what would be right."""
    name = ".".join(str(part) for part in place if not isinstance(part, int))
    match first["type"]:
        case "extra_forbidden":
            return bad_request(
                f"There is no parameter `{name}` here.", "/openapi.json lists those there are."
            )
        case "literal_error" | "enum":
            return bad_request(
                f"`{name}` has an unknown value.",
                f"It may be {first['ctx']['expected']}.",
            )
        case "missing":
            return bad_request(f"`{name}` is missing.")
        case _:
            message = first["msg"].removeprefix("Value error, ")
            return bad_request(f"`{name}`: {message}." if name else f"{message}.")


async def _not_served(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:
        answer = not_found(
            "There is nothing at this address.", "/openapi.json lists what there is."
        )
    else:
        answer = ApiError(
            error.status_code, "not_allowed", str(error.detail), headers=error.headers or {}
        )
    return await _refused(request, answer)


async def _failed(request: Request, error: Exception) -> Response:
    """Answer a fault of ours, without what it says: it may quote rows."""
    logger.error("a request failed: %s", type(error).__name__)
    return await _refused(
        request, ApiError(500, "failed", "The API failed to answer.", "See its log.")
    )
