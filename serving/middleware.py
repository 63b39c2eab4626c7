"""What happens to every request and answer: the access log, headers of safety, CORS of one path."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.callers import COOKIE
from serving.calls import Calls

logger = logging.getLogger("warehouse.api")

# Answers of data load nothing and are framed by nobody. Pages that need more say so themselves.
POLICY = "default-src 'none'; frame-ancestors 'none'"
SAFE_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class SafeHeaders:
    """Adds the headers of safety that an answer does not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(one for one in SAFE_HEADERS if one[0] not in given),
                ]
            await send(message)

        await self._app(scope, receive, with_headers)


class AccessLog:
    """Logs and counts each request: the endpoint, never the values in its address; the key's id."""

    def __init__(self, app: ASGIApp, calls: Calls) -> None:
        self._app = app
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status: int | None = None

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            # It is answered further out.
            status = status or 500
            scope.setdefault("state", {}).setdefault("error", "failed")
            raise
        finally:
            seconds = time.perf_counter() - started
            endpoint, state = _endpoint(scope), scope.get("state", {})
            logger.info(
                "%s %s %s %.0f ms key %s",
                scope["method"],
                endpoint or "(no endpoint)",
                status or "interrupted",
                1000 * seconds,
                state.get("key_id", "-"),
            )
            if endpoint and status:
                self._calls.count(
                    endpoint,
                    scope["method"],
                    status,
                    seconds,
                    state.get("error"),
                    has_key="key_id" in state,
                )


def _endpoint(scope: Scope) -> str | None:
    """Return the endpoint as it is declared, so that no value of a path is logged."""
    route: Any = scope.get("route")
    return scope.get("state", {}).get("endpoint") or getattr(route, "path", None)


class CompressForPeople:
    """Compresses what browsers of people who are signed in ask for; programs get it as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # At this level compressing costs less time than the bytes that it saves do.
        self._compressed = GZipMiddleware(app, minimum_size=1_000, compresslevel=4)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        is_person = scope["type"] == "http" and COOKIE in HTTPConnection(scope).cookies
        await (self._compressed if is_person else self._app)(scope, receive, send)


class CorsOf:
    """Lets pages of some origins read one path. All other paths know no other origins."""

    def __init__(self, app: ASGIApp, path: str, origins: tuple[str, ...]) -> None:
        self._app = app
        self._path = path
        self._shared = CORSMiddleware(
            app, allow_origins=origins, allow_methods=["GET"], allow_headers=["Authorization"]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        is_shared = scope["type"] == "http" and scope["path"].endswith(self._path)
        await (self._shared if is_shared else self._app)(scope, receive, send)
