"""The pages of the dashboard, and the files that they load."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from serving.callers import Caller
from serving.catalogue import Mart
from serving.dashboard.assets import assets, send_asset, version
from serving.dashboard.pages import PAGES
from serving.dashboard.tiles import (
    CLIENT,
    Kind,
    Page,
    Shown,
    Tile,
    check,
    configurations,
    label_of,
)
from serving.errors import ApiError
from serving.mart_states import MartState, now
from serving.service import caller_of, service_of
from warehouse.settings import Settings

PATH = "/dashboard"
PRESETS = {7: "7 days", 30: "30 days", 90: "90 days", 365: "12 months"}
# Loaded at once, and not only when the one that needs them has come.
MODULES = [
    name for name in assets() if name.endswith(".js") and "/" not in name and name != "sign_in.js"
]
# Everything is a file of ours: no line of script or style is in a page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_templates = Environment(
    loader=PackageLoader("serving.dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def routes(marts: Mapping[str, Mart]) -> list[BaseRoute]:
    """Return the routes of all pages. Raises CatalogueError for a tile of an unknown mart."""
    check(PAGES, marts)
    for template in _templates.list_templates():
        _templates.get_template(template)
    return [
        Route("/", _start),
        Route("/sign-in", _sign_in),
        *(Route(f"{PATH}/{page.name}", _endpoint(page)) for page in PAGES),
        Route(f"{PATH}/static/{{version}}/{{path:path}}", send_asset),
    ]


async def _start(request: Request) -> Response:
    """Show the first page."""
    return RedirectResponse(f"{_root(request)}{PATH}/{PAGES[0].name}", 303)


async def _sign_in(request: Request) -> Response:
    """Show the form that takes a key."""
    return sign_in_page(request, request.query_params.get("next", ""))


def sign_in_page(request: Request, then: str, error: ApiError | None = None) -> Response:
    """Return the form that takes a key and leads to the path ``then``, and why one was refused."""
    answer = _page(request, "sign_in.html", error.status if error else 200, then=then, error=error)
    answer.headers.update(error.headers if error else {})
    return answer


def _endpoint(page: Page) -> Any:
    async def show(request: Request) -> Response:
        service = service_of(request)
        try:
            caller = await caller_of(request)
            states = await service.states.all()
        except ApiError as error:
            if error.status == 401:
                return RedirectResponse(_sign_in_link(request, page), 303)
            return _page(request, "failed.html", error.status, error=error)
        tiles = _tiles(page, caller, service.marts)
        pages = [one for one in PAGES if _tiles(one, caller, service.marts)]
        if not tiles and pages:
            return RedirectResponse(f"{_root(request)}{PATH}/{pages[0].name}", 303)
        configured = {one["id"]: one for one in configurations(page, service.marts)}
        filters = _filters(page, caller, tiles, service.marts)
        return _page(
            request,
            "page.html",
            page=page,
            pages=pages,
            modules=MODULES,
            groups=groupby(
                ((tile, configured[tile.id], json.dumps(configured[tile.id])) for tile in tiles),
                lambda one: one[0].kind is Kind.FIGURE,
            ),
            caller=caller,
            filters=[(name, label_of(name)) for name in filters],
            presets=PRESETS,
            has_range=page.has_range,
            as_of=_as_of(tiles, states),
        )

    return show


def _tiles(page: Page, caller: Caller, marts: Mapping[str, Mart]) -> list[Tile]:
    """Return the tiles that are for a caller; what the plan lacks stays, and says so."""
    return [
        tile
        for tile in page.tiles
        if caller.may_read(marts[tile.mart])
        and (caller.is_analyst or not (tile.is_for_analysts or tile.shown is Shown.ALL_CLIENTS))
    ]


def _filters(
    page: Page, caller: Caller, tiles: Sequence[Tile], marts: Mapping[str, Mart]
) -> list[str]:
    """Return the filters that narrow at least one tile; a tenant's key has its client."""
    keys = {column.name for tile in tiles for column in marts[tile.mart].filters}
    return [name for name in page.filters if name in keys and (name != CLIENT or caller.is_analyst)]


def _as_of(tiles: Sequence[Tile], states: Mapping[str, MartState]) -> datetime:
    """Return from when the newest figures of a page are: ranges end there, not at any clock."""
    built = [
        state.built_as_of
        for tile in tiles
        if (state := states.get(tile.mart)) and state.built_as_of is not None
    ]
    return max(built, default=now())


def _page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    tracker = _tracker(service_of(request).settings)
    root = _root(request)
    content = _templates.get_template(template).render(
        root=root, static=f"{root}{PATH}/static/{version()}", tracker=tracker, **values
    )
    headers = {
        "Content-Security-Policy": _policy(tracker),
        "Cache-Control": "no-store",
        # Without a referrer, browsers do not say either from which page a form is.
        "Referrer-Policy": "same-origin",
    }
    return HTMLResponse(content, status, headers)


@dataclass(frozen=True, slots=True)
class _Tracker:
    """The collector that counts the use of the dashboard, and its key for it."""

    url: str
    key: str


def _tracker(settings: Settings) -> _Tracker | None:
    if settings.dashboard_collector_url is None or settings.dashboard_key is None:
        return None
    return _Tracker(settings.dashboard_collector_url.rstrip("/"), settings.dashboard_key)


def _policy(tracker: _Tracker | None) -> str:
    """Return the policy of a page, which may load the tracker and send to its collector."""
    if tracker is None:
        return POLICY
    parts = urlsplit(tracker.url)
    origin = f"{parts.scheme}://{parts.netloc}"
    return POLICY.replace("script-src 'self'", f"script-src 'self' {origin}").replace(
        "connect-src 'self'", f"connect-src 'self' {origin}"
    )


def _root(request: Request) -> str:
    """Return the path that a proxy removes from addresses."""
    return request.scope.get("root_path", "")


def _sign_in_link(request: Request, page: Page) -> str:
    path = f"{_root(request)}{PATH}/{page.name}"
    then = f"{path}?{request.url.query}" if request.url.query else path
    return f"{_root(request)}/sign-in?{urlencode({'next': then})}"
