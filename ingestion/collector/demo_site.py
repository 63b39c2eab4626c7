"""The demo site: pages that carry the tracker, to try it on one's own machine."""

from __future__ import annotations

import asyncio
import html
import mimetypes

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from warehouse.settings import PROJECT_DIR, settings

FOLDER = PROJECT_DIR / "tracker" / "demo"
PATH = "/demo/"
# Where a page has the key.
PLACE = "{{ key }}"
# As strict as a site can be: the tracker and its banner need no more.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'",
    "Cache-Control": "no-cache",
}


def routes() -> list[Route]:
    """Return the site's routes: none without a key for it in the settings."""
    return [Route(PATH + "{name:path}", _page)] if settings().demo_site_key else []


async def _page(request: Request) -> Response:
    """Answer with a file; `/demo/builder/bath` is the page builder.html."""
    name = request.path_params["name"].split("/")[0] or "index"
    files = {path.name: path for path in FOLDER.iterdir()}
    found = files.get(name) or files.get(f"{name}.html")
    if found is None:
        raise HTTPException(404)
    content = await asyncio.to_thread(found.read_text, "utf-8")
    content = content.replace(PLACE, html.escape(settings().demo_site_key or ""))
    return Response(content, media_type=mimetypes.guess_type(found.name)[0], headers=_HEADERS)
