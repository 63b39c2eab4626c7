"""A guard in front of web applications that trust everybody who can reach them.

Dagster's web server executes mutations that are sent by GET, and checks neither Host nor Origin. So
any page that is open in a browser could start or delete runs: by the address of an image, by a
form, or by script where a name is made to point to 127.0.0.1 (DNS rebinding). The guard allows
requests from pages at the application's own address, and from programs that are no browsers.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

USER = "warehouse"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
# Addresses to listen at that no browser uses as a host.
WILDCARDS = frozenset({"0.0.0.0", "[::]", ""})  # noqa: S104
READING = frozenset({"GET", "HEAD"})
GRAPHQL = "/graphql"
_HOST = re.compile(r"(?P<name>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The response to a refused request; ``headers`` say what would be allowed."""

    status: int
    sentence: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is allowed: the server's names, further origins, and the password if there is one.

    ``hosts`` are names without port, and IPv6 addresses in brackets. ``origins``, such as
    ``https://dagster.example``, are for a proxy that hides its name from the server.
    """

    hosts: frozenset[str]
    origins: frozenset[str] = frozenset()
    password: str | None = None


def rules(listens_at: str, url: str | None, password: str | None) -> Rules:
    """Return the rules of a server that listens at an address.

    ``url`` is where people reach it, if it was set explicitly: a default may name the port of
    another program on this machine, whose pages would then be trusted.
    """
    address = f"[{listens_at}]" if ":" in listens_at else listens_at.lower()
    names = LOOPBACK | ({address} - WILDCARDS)
    if url is None:
        return Rules(names, password=password)
    parts = urlsplit(url.lower())
    host = parts.netloc.rpartition("@")[2]
    return Rules(
        names | ({host_name(host)} - {None}), frozenset({f"{parts.scheme}://{host}"}), password
    )


def host_name(host: str) -> str | None:
    """Return the name in a Host header without its port, or None for an invalid header."""
    match = _HOST.fullmatch(host.lower())
    return match["name"] if match else None


def refusal(rules: Rules, scope: Scope) -> Refusal | None:
    """Return why a request or websocket is refused, or None where it is allowed."""
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or host_name(hosts[0]) not in rules.hosts:
        return Refusal(
            421,
            "This server does not answer to that name. Use localhost, or the name in "
            "WAREHOUSE_DAGSTER_URL or WAREHOUSE_DOCS_URL.",
        )
    if rules.password is not None and not _knows(rules.password, headers):
        return Refusal(
            401,
            f"Sign in as {USER} with the password in WAREHOUSE_DAGSTER_PASSWORD.",
            {"WWW-Authenticate": 'Basic realm="warehouse", charset="UTF-8"'},
        )
    if _comes_from_elsewhere(rules, scope, hosts[0], headers):
        return Refusal(403, "Requests from pages of other sites are refused.")
    return None if scope["type"] == "websocket" else _of_method(scope, headers)


def _knows(password: str, headers: Headers) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    try:
        pair = base64.b64decode(given.strip(), validate=True)
    except (binascii.Error, ValueError):
        pair = b""
    is_right = hmac.compare_digest(pair, f"{USER}:{password}".encode())
    return is_right and scheme.lower() == "basic"


def _comes_from_elsewhere(rules: Rules, scope: Scope, host: str, headers: Headers) -> bool:
    """Return whether a browser sent it for a page of another origin, unless it follows a link."""
    is_secure = scope.get("scheme", "http") in {"https", "wss"}
    own = {f"{'https' if is_secure else 'http'}://{host.lower()}"} | rules.origins
    reads = scope["type"] == "http" and scope["method"] in READING
    if reads and _opens_a_page(headers):
        return False
    if "origin" in headers:
        return any(origin.lower() not in own for origin in headers.getlist("origin"))
    if headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        return True
    # Some browsers send neither of these headers.
    return not reads and "referer" in headers and _origin_of(headers["referer"]) not in own


def _opens_a_page(headers: Headers) -> bool:
    """Return whether a person opened a page as a whole: by a link in an alert, for example."""
    kind = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"))
    return kind == ("navigate", "document") and "origin" not in headers


def _origin_of(address: str) -> str | None:
    try:
        parts = urlsplit(address.lower())
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}"


def _of_method(scope: Scope, headers: Headers) -> Refusal | None:
    if scope["path"].rstrip("/") == GRAPHQL:
        if scope["method"] != "POST":
            return Refusal(405, "GraphQL accepts POST only.", {"Allow": "POST"})
    elif scope["method"] in READING:
        return None
    elif scope["method"] != "POST":
        return Refusal(405, "Only GET, HEAD and POST are accepted.", {"Allow": "GET, HEAD, POST"})
    kinds = headers.getlist("content-type")
    if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != "application/json":
        return Refusal(415, "The body of a POST must have the type application/json.")
    return None


class Guard:
    """ASGI middleware that applies the rules, and forbids other sites to frame the pages."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif refused := refusal(self._rules, scope):
            await _refuse(refused, scope, receive, send)
        else:
            await self._app(scope, receive, _unframed(send))


async def _refuse(refused: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    headers = refused.headers | {"Cache-Control": "no-store"}
    # Starlette sends this response as the denial of a websocket, too.
    await PlainTextResponse(f"{refused.sentence}\n", refused.status, headers)(scope, receive, send)


def _unframed(send: Send) -> Send:
    async def with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("X-Frame-Options", "SAMEORIGIN")
        await send(message)

    return with_header
