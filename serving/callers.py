"""Who asks: the key of a request, the role that it stands for, and how often it may ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path

import psycopg
from starlette.requests import Request

from serving.catalogue import Access, Mart
from serving.connections import Connections, refused_role
from serving.errors import forbidden, too_many, unauthorized, unavailable
from warehouse import database, key_store
from warehouse.database import ANALYST
from warehouse.keys import Key, KeyKind, KnownKeys
from warehouse.sql_files import read_sql

# The cookie with which people stay signed in: it holds their key, and ends with it.
COOKIE = "warehouse_key"
# A key that is made, revoked or mapped to another client takes effect within this time.
KEYS_SECONDS = 5
LOOK_SECONDS = 1
MINUTE = 60

_READER = read_sql(__file__, "reader")
_PLAN = "select plan from marts.clients where client_id = %s"


@dataclass(frozen=True, slots=True)
class Caller:
    """A reader of marts. A tenant has a ``client_id``, and a ``user_id`` if it is one user of it.

    ``plan`` is that of its client, None for analysts and where it is not known.
    """

    key_id: str
    name: str
    role: str
    is_analyst: bool
    client_id: str | None
    user_id: str | None
    plan: str | None

    def may_read(self, mart: Mart) -> bool:
        """Return whether the mart has rows for such readers. Whose rows, the database decides."""
        match mart.access:
            case Access.ANALYSTS:
                return self.is_analyst
            case Access.CLIENT:
                return self.is_analyst or self.user_id is None
            case Access.CLIENT_AND_USER:
                return True
            case Access.USER:
                return self.is_analyst or self.user_id is not None

    def has_plan_for(self, mart: Mart) -> bool:
        """Return whether the client's plan includes the mart."""
        return self.is_analyst or not mart.plans or self.plan in mart.plans

    def check(self, mart: Mart) -> None:
        """Raise ApiError if the caller may not read the mart."""
        if not self.may_read(mart):
            who = {
                Access.ANALYSTS: "analysts",
                Access.CLIENT: "analysts and whole clients",
                Access.USER: "analysts and single users",
            }[mart.access]
            raise forbidden(
                f"{mart.name} is for {who}.", "GET /v1/marts lists what this key may read."
            )
        if not self.has_plan_for(mart):
            plans = " or ".join(mart.plans)
            raise forbidden(
                f"{mart.name} is part of the plan {plans}.",
                f"This key's client has {f'the plan {self.plan}' if self.plan else 'another one'}.",
                error="not_in_plan",
            )


class Quotas:
    """How many requests each key or address has made in this minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minute = 0
        self._counts: dict[str, int] = {}

    def count(self, who: str, per_minute: int) -> None:
        """Count a request. Raises ApiError if it is one too many."""
        now = self._clock()
        minute = int(now // MINUTE)
        if minute != self._minute:
            self._minute, self._counts = minute, {}
        made = self._counts.get(who, 0)
        if made >= per_minute:
            raise too_many(per_minute, max(1, MINUTE - int(now % MINUTE)))
        self._counts[who] = made + 1


class Callers:
    """Finds the caller of a request by its key."""

    def __init__(self, connections: Connections, home: Path, plans_matter: bool) -> None:
        self._connections = connections
        self._home = home
        self._plans_matter = plans_matter
        self._keys = KnownKeys(home)
        self._looked_at = self._copied_at = float("-inf")
        self._copying: asyncio.Task[None] | None = None
        self._known: dict[str, tuple[float, Caller]] = {}
        self.quotas = Quotas()

    async def start(self) -> None:
        """Learn the keys, unless the database is away and nothing is known yet."""
        await self._copy()
        self._keys.refresh()

    async def caller(self, request: Request) -> Caller:
        """Return who asks, and count the request.

        Raises ApiError without a valid key that reads, and for one request too many in a minute.
        """
        key = self.key(request)
        request.state.key_id = key.key_id
        if key.kind is not KeyKind.READ or key.role_name is None:
            raise forbidden(
                f"A {key.kind} key does not read marts.",
                "Use a key that `warehouse keys create --kind read` made.",
            )
        self.quotas.count(key.key_id, key.per_minute)
        known_at, caller = self._known.get(key.key_id, (float("-inf"), None))
        if caller is None or time.monotonic() - known_at > KEYS_SECONDS:
            caller = await self._load(key, key.role_name)
            self._known[key.key_id] = (time.monotonic(), caller)
        return caller

    def key(self, request: Request) -> Key:
        """Return the valid key of a request. Raises ApiError if it has none."""
        given = given_key(request)
        if given is None:
            raise unauthorized("This needs a key.")
        if (key := self.find(given)) is None:
            raise unauthorized("There is no such key, or it has expired or was revoked.")
        return key

    def find(self, given: str) -> Key | None:
        """Return a valid key. Raises ApiError if no key can be known yet."""
        now = time.monotonic()
        if now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            self._keys.refresh()
        if now - self._copied_at > KEYS_SECONDS and self._copying is None:
            self._copying = asyncio.create_task(self._copy())
        if not self._keys.is_known:
            raise unavailable("database_away", "No keys are known yet.")
        return self._keys.find(given)

    async def _copy(self) -> None:
        """Bring the home's copy of the keys up to date, if the database can be reached."""
        try:
            with suppress(database.DatabaseError, psycopg.Error):
                await asyncio.to_thread(_copy_keys, self._home)
        finally:
            self._copied_at = time.monotonic()
            self._copying = None

    async def _load(self, key: Key, role: str) -> Caller:
        found = await self._connections.rows(None, _READER, {"key_id": key.key_id})
        if not found or not found[0][-1]:
            raise refused_role(role)
        ((name, is_analyst, client_id, user_id, _),) = found
        plan = None
        if self._plans_matter and client_id is not None:
            plan = await self._plan(client_id)
        return Caller(
            key.key_id, name or f"key {key.key_id}", role, is_analyst, client_id, user_id, plan
        )

    async def _plan(self, client_id: str) -> str | None:
        try:
            found = await self._connections.rows(ANALYST, _PLAN, (client_id,))
        except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):
            return None
        return found[0][0] if found else None


def _copy_keys(home: Path) -> None:
    with database.connect_as_api() as connection:
        key_store.write_copy(connection, home)


def given_key(request: Request) -> str | None:
    """Return the key in a request's header or, of people who are signed in, its cookie.

    Raises ApiError for a request that changes something, with a cookie, from another site's page.
    """
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme:
        return given.strip() if scheme.lower() == "bearer" else None
    cookie = request.cookies.get(COOKIE)
    if cookie is not None and request.method not in {"GET", "HEAD"}:
        refuse_other_sites(request)
    return cookie


def refuse_other_sites(request: Request) -> None:
    """Raise ApiError if a browser sent a request for a page that is not one of ours."""
    origin = request.headers.get("origin")
    if origin is None or origin.partition("://")[2] != request.headers.get("host"):
        raise forbidden("Requests from pages of other sites are refused.")


def is_from(request: Request, networks: Collection[IPv4Network | IPv6Network]) -> bool:
    """Return whether a request's address is in one of some networks."""
    if request.client is None:
        return False
    with suppress(ValueError):
        address = ip_address(request.client.host)
        return any(address in network for network in networks)
    return False


def check_analyst(caller: Caller) -> None:
    """Raise ApiError if the caller is no analyst."""
    if not caller.is_analyst:
        raise forbidden("This needs the key of an analyst.", error="analysts_only")
