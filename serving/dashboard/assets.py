"""The files that pages load: scripts, styles and the icon, kept in memory and compressed once."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
# The address names the version of all files, so that browsers need not ask for one again.
KEPT = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, and how it is sent."""

    content: bytes
    compressed: bytes
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """Return all files by their path within the folder."""
    return {
        path.relative_to(FOLDER).as_posix(): _asset(path)
        for path in sorted(FOLDER.rglob("*.*"))
        if path.suffix in {".js", ".css", ".svg"}
    }


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Asset(content, gzip.compress(content, 9, mtime=0), media_type)


@cache
def version() -> str:
    """Return what changes whenever a file does."""
    digest = hashlib.sha256()
    for name, asset in assets().items():
        digest.update(f"{name} {len(asset.content)} ".encode() + asset.content)
    return digest.hexdigest()[:12]


async def send_asset(request: Request) -> Response:
    """Send a file. A page of another version gets it too, and must not keep it."""
    asset = assets().get(request.path_params["path"])
    if asset is None:
        raise HTTPException(404)
    is_current = request.path_params["version"] == version()
    headers = {
        "Cache-Control": KEPT if is_current else "no-store",
        "Vary": "Accept-Encoding",
    }
    content = asset.content
    if "gzip" in request.headers.get("accept-encoding", ""):
        content = asset.compressed
        headers["Content-Encoding"] = "gzip"
    return Response(content, headers=headers, media_type=asset.media_type)
