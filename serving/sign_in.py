"""How people sign in: with a key, which a cookie then holds, or by a link that works once.

The cookie is the key itself, so that it ends when the key expires or is revoked.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from serving.callers import COOKIE, refuse_other_sites
from serving.dashboard.site import sign_in_page
from serving.errors import ApiError, bad_request, forbidden, unauthorized
from serving.service import Service, service_of
from warehouse.keys import KeyKind
from warehouse.sign_in_links import take_key

# A form holds a key and where to go; the rest is not read.
MOST_BYTES = 4_096

router = APIRouter(include_in_schema=False)


@router.get("/sign-in/{token}")
async def follow_link(request: Request, token: str) -> Response:
    """Sign in by a link, once."""
    service = service_of(request)
    try:
        if not _is_on_this_machine(request):
            raise forbidden("Such a link works on the machine of the warehouse alone.")
        key = take_key(service.settings.home, token)
        if key is None:
            raise unauthorized("The link was used before, or has expired.")
        return _signed_in(request, service, key, "")
    except ApiError as error:
        return _refused(request, error, "")


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Sign in with a key, from the form of the dashboard."""
    then = ""
    try:
        refuse_other_sites(request)
        form = await _form(request)
        then = form.get("next", "")
        return _signed_in(request, service_of(request), form.get("key", ""), then)
    except ApiError as error:
        return _refused(request, error, then)


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


def _refused(request: Request, error: ApiError, then: str) -> Response:
    """Answer people, whose browser opens the answer as a page, with the form and the reason."""
    if "text/html" in request.headers.get("accept", ""):
        return sign_in_page(request, then, error)
    raise error


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


def _is_on_this_machine(request: Request) -> bool:
    with suppress(ValueError):
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    return False
