"""How people sign in: with a key, which a cookie then holds, or by a link that works once.

The cookie is the key itself, so that it ends when the key expires or is revoked.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import psycopg
from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from serving.callers import COOKIE, refuse_other_sites
from serving.errors import bad_request, forbidden, unauthorized
from serving.service import Service, service_of
from warehouse import key_store, private_files
from warehouse.database import ANALYST
from warehouse.keys import KeyKind

LINK_DAYS = 1
# A form holds a key and where to go; the rest is not read.
MOST_BYTES = 4_096

router = APIRouter(include_in_schema=False)


def new_link(connection: psycopg.Connection, home: Path, address: str) -> str:
    """Return a link that signs an analyst in once, for a day, on this machine.

    Its key is in a private file of the home until then. Raises KeyRefusedError.
    """
    key = key_store.create(
        connection,
        home,
        KeyKind.READ,
        role=ANALYST,
        name=f"Signed in by a link of {datetime.now(UTC):%Y-%m-%d %H:%M}",
        expires_in_days=LINK_DAYS,
    )
    token = secrets.token_urlsafe(24)
    file = _file(home, token)
    private_files.make_folder(file.parent)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
        new.write(key.key)
    return f"{address}/sign-in/{token}"


@router.get("/sign-in/{token}")
async def follow_link(request: Request, token: str) -> Response:
    """Sign in by a link, once."""
    service = service_of(request)
    if not _is_on_this_machine(request):
        raise forbidden("Such a link works on the machine of the warehouse alone.")
    file = _file(service.settings.home, token)
    taken = file.with_suffix(f".{secrets.token_hex(4)}")
    try:
        # Of two who follow it at once, one gets it.
        file.rename(taken)
        key = taken.read_text("utf-8")
    except OSError:
        raise unauthorized("The link was used before, or has expired.") from None
    finally:
        with suppress(OSError):
            taken.unlink()
    return _signed_in(request, service, key, "")


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Sign in with a key, from the form of the dashboard."""
    refuse_other_sites(request)
    form = await _form(request)
    return _signed_in(request, service_of(request), form.get("key", ""), form.get("next", ""))


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Forget the key."""
    refuse_other_sites(request)
    answer = RedirectResponse(_home(request), 303)
    answer.delete_cookie(COOKIE, path=_home(request))
    return answer


def _signed_in(request: Request, service: Service, given: str, then: str) -> Response:
    key = service.callers.find(given.strip())
    if key is None or key.kind is not KeyKind.READ:
        raise unauthorized("There is no such key that reads, or it has expired or was revoked.")
    # A path of ours, never another site's: browsers read `//` and `/\` as such.
    is_path = then.startswith("/") and then[1:2] not in ("/", "\\")
    answer = RedirectResponse(then if is_path else _home(request), 303)
    answer.set_cookie(
        COOKIE,
        given.strip(),
        expires=key.expires_at,
        path=_home(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _home(request: Request) -> str:
    return f"{request.scope.get('root_path', '')}/"


async def _form(request: Request) -> dict[str, str]:
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > MOST_BYTES:
            raise bad_request("The form is too long.")
    try:
        fields = parse_qs(content.decode(), max_num_fields=10)
    except ValueError:
        raise bad_request("The form can't be read.") from None
    return {name: values[-1] for name, values in fields.items()}


def _file(home: Path, token: str) -> Path:
    return home / "sign-in" / hashlib.sha256(token.encode()).hexdigest()


def _is_on_this_machine(request: Request) -> bool:
    with suppress(ValueError):
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    return False
