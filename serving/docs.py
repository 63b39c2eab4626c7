"""`/docs`: the description of the API as a page, made of files of this machine alone."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

SITE = Path(__file__).parent / "site"
# Swagger UI sets styles of its elements by script, and has icons in its style sheet.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' "
    "data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes() -> list[BaseRoute]:
    """Return the routes of the page and of what it loads."""
    assets = Path(str(files("fastapi_offline") / "static"))

    async def page(_: object) -> Response:
        return FileResponse(SITE / "docs.html", headers={"Content-Security-Policy": POLICY})

    async def script(_: object) -> Response:
        return FileResponse(SITE / "docs.js", media_type="text/javascript")

    return [
        Route("/docs", page),
        Route("/docs/start.js", script),
        Mount("/docs/assets", StaticFiles(directory=assets)),
    ]
