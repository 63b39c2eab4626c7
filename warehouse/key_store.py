"""Makes, lists and revokes keys, which the database stores as hashes.

Whoever has a connection brings the copy of the hashes in the home up to date: the commands at once,
a running server every few seconds.
"""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import psycopg
from psycopg.rows import class_row

from warehouse import database, private_files
from warehouse.errors import WarehouseError
from warehouse.key_kinds import KeyKind
from warehouse.keys import Key, copy_of_keys, digest_of, encode_keys, origin_of
from warehouse.settings import settings
from warehouse.sql_files import read_sql

# A random part of this many bytes can't be guessed, so its hash need not be slow to compute.
SECRET_BYTES = 32
ID_BYTES = 6
LONGEST_CLIENT_ID = 128
LARGEST_QUOTA = 2**31 - 1
MARKETING_ROLE = "warehouse_marketing"
TENANT_ROLE = "warehouse_tenant"

# Events a minute of the keys that send; requests a minute of those that read.
DEFAULT_PER_MINUTE = {
    KeyKind.BROWSER: 60_000,
    KeyKind.SERVER: 600_000,
    KeyKind.PLATFORM: 6_000_000,
    KeyKind.READ: 600,
    KeyKind.MARKETING: 10,
}
OF_ONE_CLIENT = frozenset({KeyKind.BROWSER, KeyKind.SERVER})
WITH_ORIGINS = frozenset({KeyKind.BROWSER, KeyKind.MARKETING})


# Keys that `warehouse demo` and `warehouse serve --dev` make: their name, their client, and where
# development servers of sites listen.
EXAMPLE, EXAMPLE_CLIENT = "example", "acme"
EXAMPLE_ORIGINS = ("http://localhost:8080", "http://localhost:5173", "http://localhost:4000")


class KeyRefusedError(WarehouseError):
    """A key can't be made or revoked; the message says why."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time that it is known in full."""

    id: str
    key: str


@dataclass(frozen=True, slots=True)
class ListedKey:
    """What is shown of a key."""

    id: str
    kind: str
    name: str | None
    client: str | None
    role: str | None
    origins: list[str]
    per_minute: int
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def create(
    connection: psycopg.Connection,
    home: Path,
    kind: KeyKind,
    *,
    client: str | None = None,
    role: str | None = None,
    origins: list[str] | None = None,
    name: str | None = None,
    expires_in_days: int | None = None,
    per_minute: int | None = None,
) -> NewKey:
    """Make a key and return it. Raises KeyRefusedError for options that do not fit its kind."""
    client = _checked_client(kind, client)
    role = _checked_role(connection, kind, role)
    allowed = _checked_origins(kind, origins or [])
    per_minute = DEFAULT_PER_MINUTE[kind] if per_minute is None else per_minute
    if not 0 < per_minute <= LARGEST_QUOTA:
        raise KeyRefusedError(f"--per-minute must be from 1 to {LARGEST_QUOTA:,}.")
    if expires_in_days is not None and not 0 < expires_in_days <= 36_500:
        raise KeyRefusedError("--expires-in must be from 1 to 36500 days.")
    key_id = secrets.token_hex(ID_BYTES)
    secret = base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).rstrip(b"=").decode()
    key = f"{kind}_{key_id}_{secret}"
    connection.execute(
        "insert into warehouse.keys (key_id, kind, digest, client_id, origins, role_name, name, "
        "per_minute, expires_at) values (%s, %s, %s, %s, %s, %s, %s, %s, "
        "clock_timestamp() + %s)",
        (
            key_id, kind, digest_of(key), client, allowed, role, name, per_minute,
            None if expires_in_days is None else timedelta(days=expires_in_days),
        ),
    )  # fmt: skip
    connection.commit()
    write_copy(connection, home)
    return NewKey(key_id, key)


def example_keys() -> list[str]:
    """Make a key of each kind to try the servers with; return lines that show them.

    They are made, and can be shown, once: later calls return nothing.
    """
    with database.connect(application_name="warehouse keys") as connection:
        row = connection.execute(
            "select exists (select 1 from warehouse.keys where name = %s)", (EXAMPLE,)
        ).fetchone()
        if row and row[0]:
            return []
        made = {
            kind: create(
                connection,
                settings().home,
                kind,
                client=EXAMPLE_CLIENT if kind in OF_ONE_CLIENT else None,
                role=database.ANALYST if kind is KeyKind.READ else None,
                origins=list(EXAMPLE_ORIGINS) if kind is KeyKind.BROWSER else None,
                name=EXAMPLE,
            )
            for kind in KeyKind
        }
    return [
        f"Keys to try it with, shown this one time (client {EXAMPLE_CLIENT}, pages of "
        f"{', '.join(EXAMPLE_ORIGINS)}):",
        *(f"  {kind:<10} {key.key}" for kind, key in made.items()),
    ]


def demo_site_key(port: int) -> str:
    """Make a key for a day, for the demo site that a collector serves at this port."""
    with database.connect(application_name="warehouse keys") as connection:
        made = create(
            connection,
            settings().home,
            KeyKind.BROWSER,
            client=EXAMPLE_CLIENT,
            origins=[f"http://{host}:{port}" for host in ("localhost", "127.0.0.1")],
            name="demo site",
            expires_in_days=1,
        )
    return made.key


def revoke(connection: psycopg.Connection, home: Path, key_id: str) -> None:
    """Revoke a key; revoking it again changes nothing. Raises KeyRefusedError if there is none."""
    found = connection.execute(
        "update warehouse.keys set revoked_at = coalesce(revoked_at, clock_timestamp()) "
        "where key_id = %s",
        (key_id,),
    ).rowcount
    connection.commit()
    if not found:
        raise KeyRefusedError(f"There is no key {key_id!r}: `warehouse keys list` shows all.")
    write_copy(connection, home)


def listed(connection: psycopg.Connection) -> list[ListedKey]:
    """Return all keys, revoked ones included, oldest first."""
    return (
        connection.cursor(row_factory=class_row(ListedKey))
        .execute(
            "select key_id as id, kind, name, client_id as client, role_name as role, origins, "
            "per_minute, created_at, expires_at, revoked_at from warehouse.keys "
            "order by created_at, key_id"
        )
        .fetchall()
    )


def write_copy(connection: psycopg.Connection, home: Path) -> None:
    """Bring the home's copy of the hashes up to date; it is written only if it differs."""
    private_files.make_folder(home)
    lock = os.open(home / "keys.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Read and written under one lock: an older reading never replaces a newer one.
        fcntl.flock(lock, fcntl.LOCK_EX)
        with connection.transaction():
            keys = _valid_keys(connection)
        content = encode_keys(keys)
        path = copy_of_keys(home)
        with suppress(FileNotFoundError):
            if path.read_bytes() == content:
                return
        private_files.replace(path, content)
    finally:
        os.close(lock)


def _checked_client(kind: KeyKind, client: str | None) -> str | None:
    if kind not in OF_ONE_CLIENT:
        if client is not None:
            _refuse(kind, "--client", "browser and server keys")
        return None
    if client is None:
        raise KeyRefusedError(
            f"A {kind} key sends the events of one client: name it with --client."
        )
    if not 0 < len(client) <= LONGEST_CLIENT_ID or client == "none" or "\0" in client:
        raise KeyRefusedError(
            f"--client must have 1 to {LONGEST_CLIENT_ID} characters, and not be `none`."
        )
    return client


def _checked_role(connection: psycopg.Connection, kind: KeyKind, role: str | None) -> str | None:
    if kind is KeyKind.MARKETING:
        if role not in (None, MARKETING_ROLE):
            raise KeyRefusedError(f"A marketing key reads as {MARKETING_ROLE}: leave --role out.")
        return MARKETING_ROLE
    if kind is not KeyKind.READ:
        if role is not None:
            _refuse(kind, "--role", "read keys")
        return None
    if role is None:
        raise KeyRefusedError("A read key reads as a role of the database: name it with --role.")
    found = connection.execute(_ROLE, {"role": role}).fetchone()
    if found is None:
        raise KeyRefusedError(f"There is no role {role!r}: create it, as SECURITY.md shows.")
    is_reader, does_more, is_unmapped = found
    if not is_reader or does_more:
        raise KeyRefusedError(
            f"The role {role!r} can't be used: it must be a member of {database.ANALYST} or "
            f"{TENANT_ROLE} and of no role that writes, and no superuser."
        )
    if is_unmapped:
        raise KeyRefusedError(
            f"The tenant {role!r} would see nothing: say in warehouse.tenants which client it is."
        )
    return role


_ROLE = read_sql(__file__, "reading_role")


def _checked_origins(kind: KeyKind, given: list[str]) -> list[str]:
    if kind not in WITH_ORIGINS and given:
        _refuse(kind, "--origin", "browser and marketing keys")
    if kind is KeyKind.BROWSER and not given:
        raise KeyRefusedError(
            "A browser key works on the pages of its origins alone: name each with --origin, such "
            "as --origin https://www.example.com."
        )
    origins = []
    for url in given:
        if (origin := origin_of(url)) is None:
            raise KeyRefusedError(
                f"--origin {url!r} is not an origin: write it like https://www.example.com, "
                "without a path."
            )
        origins.append(origin)
    return sorted(set(origins))


def _refuse(kind: KeyKind, option: str, of: str) -> NoReturn:
    raise KeyRefusedError(f"{option} is for {of}: leave it out for a {kind} key.")


def _valid_keys(connection: psycopg.Connection) -> list[Key]:
    found = connection.execute(
        "select key_id, kind, digest, client_id, origins, role_name, per_minute, expires_at "
        "from warehouse.keys where revoked_at is null order by key_id"
    ).fetchall()
    return [
        Key(id_, KeyKind(kind), digest, client, frozenset(origins), role, per_minute, expires_at)
        for id_, kind, digest, client, origins, role, per_minute, expires_at in found
    ]
