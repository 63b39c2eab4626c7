"""The collector's endpoints: who may send what, and what is answered."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ingestion.collector import demo_site
from ingestion.collector.addresses import client_address
from ingestion.collector.answers import RefusedError, retry_later
from ingestion.collector.arriving import Arriving, ClientGoneError, discard
from ingestion.collector.bodies import (
    JSON,
    NDJSON,
    TEXT,
    Body,
    content_type,
    decompress,
    encoding_of,
    read_events,
)
from ingestion.collector.incoming import Incoming
from ingestion.collector.lander import read_state
from ingestion.collector.own_events import OwnEvents, records_of
from ingestion.collector.request_validation import Outcomes, RequestValidator, Sender
from ingestion.collector.room import Quotas
from ingestion.collector.segments import OWN_EVENTS, Waiting, waiting
from ingestion.collector.spool import Segment, Spool, SpoolError
from ingestion.collector.traffic import Traffic
from ingestion.load.entities import EntityKind
from ingestion.load.ledger import EVENTS
from warehouse.key_kinds import KeyKind
from warehouse.keys import Key, KnownKeys
from warehouse.settings import PROJECT_DIR, settings

SCRIPTS = PROJECT_DIR / "tracker" / "dist"
TRACKER, BANNER = "/tracker.js", "/consent-banner.js"
# How long browsers keep the tracker and the answer to a preflight, in seconds.
TRACKER_SECONDS, PREFLIGHT_SECONDS = 86_400, 86_400
RETRY_SECONDS = 5
SERVERS = frozenset({KeyKind.SERVER, KeyKind.PLATFORM})
_encode = msgspec.json.Encoder().encode

ENTITIES = "/api/entities/"
Answer = Callable[[Incoming], Awaitable[Response]]


@dataclass
class Collector:
    """What the endpoints of one worker share."""

    keys: KnownKeys
    spool: Spool
    quotas: Quotas
    # The name under which its metrics land.
    name: str
    folder: Path
    traffic: Traffic = field(default_factory=Traffic)
    own_events: OwnEvents = field(default_factory=lambda: OwnEvents("warehouse.collector"))
    is_stopping: bool = False
    arriving: Arriving = field(default_factory=Arriving)
    _validators: dict[str, tuple[Segment, RequestValidator]] = field(default_factory=dict)
    # When it was last looked at the spool, and what was found.
    _looked: tuple[float, Waiting, str | None] | None = None

    async def events(self, request: Incoming) -> Response:
        """`POST /api/events`: events from servers."""
        key = self._bearer(request, SERVERS)
        kind = content_type(request.headers.get(b"content-type"), (JSON, NDJSON))
        body = await self._read(request, kind)
        return await self._take_events(request, key, body, takes_legacy=True)

    async def track(self, request: Incoming) -> Response:
        """`POST /api/track`: events from browsers; the key is in the body."""
        origin = request.headers.get(b"origin")
        if origin and self.keys.has_origin(origin):
            # Until the key is known: a page must be able to read why it was refused.
            request.origin = origin
        content_type(request.headers.get(b"content-type"), (TEXT, JSON))
        body = await self._read(request, JSON)
        key = self._valid(body.key or "", frozenset({KeyKind.BROWSER}))
        request.origin = origin if origin in key.origins else None
        if request.origin is None:
            raise RefusedError(
                403,
                "origin_not_allowed",
                "This key does not work on this site: make a key with --origin for it.",
            )
        return await self._take_events(request, key, body, takes_legacy=False)

    async def entities(self, request: Incoming) -> Response:
        """`POST /api/entities/{kind}`: what clients, units, users or documents are now."""
        kind = EntityKind(request.path.removeprefix(ENTITIES))
        key = self._bearer(request, frozenset({KeyKind.PLATFORM}))
        body_kind = content_type(request.headers.get(b"content-type"), (JSON, NDJSON))
        body = await self._read(request, body_kind)
        self._charge(key, body)
        segment = self.spool.segment(kind)
        return await self._keep(segment, self._validator_of(segment).entities(kind, body.events))

    async def preflight(self, request: Incoming) -> Response:
        """`OPTIONS /api/track`: whether a page of this origin may send events at all."""
        origin = request.headers.get(b"origin", "")
        if not self.keys.has_origin(origin):
            raise RefusedError(
                403,
                "origin_not_allowed",
                "No key works on this site: make a browser key with --origin for it.",
            )
        request.origin = origin
        headers = {
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "content-type, content-encoding",
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        return Response(status_code=204, headers=headers)

    async def health(self, request: Request) -> Response:
        """`GET /health`: the process answers, and what time it is."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return _json(
            {"status": "ok", "now": now},
            headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"},
        )

    async def ready(self, request: Request) -> Response:
        """`GET /ready`: whether events are taken, what waits, and the state of the database."""
        found, unwritable = await self._look()
        problem = self._problem() or unwritable
        if problem is None and found.bytes >= settings().spool_limit_bytes:
            problem = "the spool is full"
        content = {
            "status": problem or "ready",
            "waiting_bytes": found.bytes,
            "oldest_seconds": found.oldest_seconds,
            "database": read_state(self.folder),
        }
        return _json(content, 503 if problem else 200, {"Cache-Control": "no-store"})

    async def tracker(self, request: Request) -> Response:
        """`GET /tracker.js`, also under a path of the operator's choice: the tracker of pages."""
        return await self._script(request, TRACKER)

    async def banner(self, request: Request) -> Response:
        """`GET /consent-banner.js`: what asks people for their consent."""
        return await self._script(request, BANNER)

    async def _script(self, request: Request, path: str) -> Response:
        try:
            content = await asyncio.to_thread((SCRIPTS / path[1:]).read_bytes)
        except OSError:
            raise HTTPException(404) from None
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {
            "ETag": etag,
            "Cache-Control": f"public, max-age={TRACKER_SECONDS}",
            "Access-Control-Allow-Origin": "*",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "X-Content-Type-Options": "nosniff",
        }
        given = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
        if etag in given or f"W/{etag}" in given or "*" in given:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="text/javascript", headers=headers)

    async def what_waits(self) -> Waiting:
        """Return what waits in the spool, as of a second ago at most."""
        return (await self._look())[0]

    async def _look(self) -> tuple[Waiting, str | None]:
        """Return what waits, and why nothing can be written; anybody may ask, so once a second."""
        now = time.monotonic()
        if self._looked is None or now - self._looked[0] > 1:
            found = await asyncio.to_thread(waiting, self.folder)
            self._looked = (now, found, await asyncio.to_thread(_probe, self.folder))
        return self._looked[1:]

    def report_traffic(self, found: Waiting) -> None:
        """Append what was counted in the last minute to the spool, in a segment of own events."""
        self.own_events.add_metrics(self.name, self.traffic.report(found))
        if not (lines := self.own_events.take()):
            return
        segment = self.spool.segment(OWN_EVENTS)
        done = self.spool.append(segment, records_of(lines, segment.received_at))

        def retry(future: asyncio.Future[None]) -> None:
            if future.cancelled() or future.exception():
                self.own_events.put_back(lines)

        done.add_done_callback(retry)

    def _problem(self) -> str | None:
        if self.is_stopping:
            return "shutting down"
        if not self.keys.is_known:
            return "no keys are known yet: the database was never reached"
        return self.spool.problem

    def _bearer(self, request: Incoming, kinds: frozenset[KeyKind]) -> Key:
        scheme, _, key = request.headers.get(b"authorization", "").partition(" ")
        return self._valid(key.strip() if scheme.lower() == "bearer" else "", kinds)

    def _valid(self, given: str, kinds: frozenset[KeyKind]) -> Key:
        """Return the key if it is one of these kinds. Raises RefusedError: 401, 403 or 503."""
        if not self.keys.is_known:
            raise retry_later(
                503, "unavailable", "No keys are known yet: try again later.", RETRY_SECONDS
            )
        key = self.keys.find(given)
        if key is None:
            raise RefusedError(
                401,
                "unknown_key",
                "Send a valid key: as `Authorization: Bearer KEY` from servers, as `key` in the "
                "body from pages. Make one with `warehouse keys create`.",
                {"WWW-Authenticate": "Bearer"},
            )
        if key.kind not in kinds:
            raise RefusedError(
                403,
                "key_not_allowed",
                f"A {key.kind} key does not work here: it takes a {' or '.join(sorted(kinds))} "
                "key.",
            )
        return key

    async def _read(self, request: Incoming, kind: str) -> Body:
        encoding = encoding_of(request.headers.get(b"content-encoding"))
        if self.is_stopping:
            raise retry_later(
                503, "stopping", "The collector is shutting down: try again.", RETRY_SECONDS
            )
        content = await self.arriving.body(request)
        request.is_read = True
        try:
            return read_events(decompress(content, encoding), kind)
        finally:
            self.arriving.release(len(content))

    def _charge(self, key: Key, body: Body) -> None:
        if wait := self.quotas.take(key.key_id, len(body.events), key.per_minute):
            raise retry_later(
                429,
                "quota_exceeded",
                f"This key may send {key.per_minute:,} events a minute: wait, then send the "
                "request again.",
                wait,
            )

    async def _take_events(
        self, request: Incoming, key: Key, body: Body, *, takes_legacy: bool
    ) -> Response:
        self._charge(key, body)
        address = client_address(
            request.peer,
            request.headers.get(b"x-forwarded-for", ""),
            settings().trusted_proxies,
        )
        sender = Sender(key, address, request.headers.get(b"user-agent"), takes_legacy)
        segment = self.spool.segment(EVENTS)
        return await self._keep(segment, self._validator_of(segment).events(body.events, sender))

    def _validator_of(self, segment: Segment) -> RequestValidator:
        """Return the validator of what a segment receives: both have one time of receipt."""
        known = self._validators.get(segment.kind)
        if known is None or known[0] is not segment:
            known = (segment, RequestValidator(segment.received_at))
            self._validators[segment.kind] = known
        return known[1]

    async def _keep(self, segment: Segment, outcomes: Outcomes) -> Response:
        """Answer once it is on disk. No other step may be between ``segment`` and this."""
        try:
            await self.spool.append(segment, b"".join(outcomes.records))
        except SpoolError as error:
            raise retry_later(
                503,
                "unavailable",
                f"Nothing was taken: {error}. Send the request again later.",
                RETRY_SECONDS,
            ) from None
        return _json(outcomes.answer(), 202)


def create_app(collector: Collector) -> ASGIApp:
    """Return the application: the endpoints that take events, and all others in Starlette."""
    posted: dict[str, Answer] = {
        "/api/events": collector.events,
        "/api/track": collector.track,
        **{f"{ENTITIES}{kind}": collector.entities for kind in EntityKind},
    }
    others = Starlette(
        routes=[
            Route("/health", collector.health),
            Route("/ready", collector.ready),
            Route(TRACKER, collector.tracker),
            Route(settings().tracker_path, collector.tracker),
            Route(BANNER, collector.banner),
            *demo_site.routes(),
        ],
        exception_handlers={HTTPException: _refuse_path, Exception: _fail},
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer = posted.get(scope["path"])
        if answer is None:
            await others(scope, receive, send)
            return
        started = time.perf_counter()
        request = Incoming(scope, receive)
        if request.method == "OPTIONS" and request.path == "/api/track":
            answer = collector.preflight
        elif request.method != "POST":
            answer = _refuse_method
        response = await _answered(request, answer)
        collector.traffic.count(response.status_code, time.perf_counter() - started)
        await response(scope, receive, send)

    return app


async def _answered(request: Incoming, answer: Answer) -> Response:
    """Return what an endpoint answers, refusals in one form."""
    try:
        response = await answer(request)
    except RefusedError as refused:
        response = _refusal(refused)
        is_open = request.method == "POST" and not request.is_read
        if is_open and (refused.status == 408 or not await discard(request)):
            response.headers["Connection"] = "close"
    except ClientGoneError:
        # Nobody is there to read it.
        response = Response(status_code=400)
    except Exception:
        logging.getLogger("uvicorn.error").exception("a request failed")
        response = _refusal(_failed())
    if request.origin:
        response.headers["Access-Control-Allow-Origin"] = request.origin
        # Else a page could not read when it may try again.
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
    if request.path == "/api/track":
        response.headers["Vary"] = "Origin"
    return response


async def _refuse_method(request: Incoming) -> Response:
    raise RefusedError(405, "method_not_allowed", "Send events with POST.", {"Allow": "POST"})


def _json(
    content: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(_encode(content), status, headers, "application/json")


def _refusal(refused: RefusedError) -> Response:
    content = {"error": refused.error, "detail": refused.detail}
    return _json(content, refused.status, refused.headers)


async def _refuse_path(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    sentences = {
        404: ("not_found", "There is nothing at this path: see docs/collecting.md."),
        405: ("method_not_allowed", "This path does not take this method."),
    }
    name, detail = sentences.get(status, ("error", "The request can't be answered."))
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return _refusal(RefusedError(status, name, detail, headers))


async def _fail(request: Request, error: Exception) -> Response:
    return _refusal(_failed())


def _failed() -> RefusedError:
    return retry_later(
        500, "failed", "The collector failed: send the request again.", RETRY_SECONDS
    )


def _probe(folder: Path) -> str | None:
    """Return why nothing can be written to the spool, None if it can."""
    try:
        probe = folder / ".probe"
        probe.write_bytes(b"?")
        probe.unlink(missing_ok=True)
    except OSError as error:
        return f"the spool can't be written to: {error.strerror}"
    return None
