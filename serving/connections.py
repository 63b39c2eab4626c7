"""Connections to the database: one read-only transaction per request, in the role of its key.

The login is a member of `warehouse_api` alone: it may take the roles that keys stand for, and owns
nothing. Role and timeout are set for the transaction, so they end with it, however it ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import msgspec
import psycopg
from psycopg.abc import AdaptContext
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from serving.errors import ApiError, bad_request, forbidden, unavailable
from warehouse import database, session
from warehouse.errors import WarehouseError

# How long a request waits for a free connection, and for a new one while the database is away.
WAIT_SECONDS = 3
_ENTER = "select set_config('role', %s, true), set_config('statement_timeout', %s, true)"


class _RawJson(Loader):
    """Loads JSON as its text: it is handed on as it is, with every digit."""

    def load(self, data: Any) -> msgspec.Raw:
        return msgspec.Raw(bytes(data))


_OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
_REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue)


class Connections:
    """A pool of connections of the API's login."""

    def __init__(self, most: int, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        url = database.api_url()
        self._pool = AsyncConnectionPool(
            url,
            kwargs=session.parameters(url) | {"application_name": "warehouse api"},
            min_size=1,
            max_size=most,
            timeout=WAIT_SECONDS,
            reconnect_timeout=WAIT_SECONDS,
            configure=_configure,
            reset=_refuse_open_transaction,
            open=False,
            name="warehouse api",
        )

    async def open(self) -> None:
        """Begin to connect; the database may be away."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    @asynccontextmanager
    async def as_role(
        self, role: str | None, seconds: float | None = None
    ) -> AsyncIterator[psycopg.AsyncConnection]:
        """Give a connection in a read-only transaction in a role; None is the API's own.

        Statements end after ``seconds``, by default the timeout of the pool. Raises ApiError where
        the database is away, refuses the role or a value, or takes too long.
        """
        milliseconds = str(int(1000 * (self._timeout if seconds is None else seconds)))
        try:
            connection = await self._entered(role or "none", milliseconds)
            try:
                yield connection
                await connection.rollback()
            finally:
                await self._give_back(connection)
        except psycopg.errors.QueryCanceled:
            raise unavailable(
                "too_slow",
                "The answer took longer than a request may take.",
                "Ask for fewer days, columns or rows, or for CSV.",
            ) from None
        except (PoolTimeout, PoolClosed, psycopg.OperationalError):
            raise database_away() from None
        except psycopg.DataError:
            raise bad_request(
                "A value does not fit the type of its column.", "See /openapi.json."
            ) from None

    async def _entered(self, role: str, milliseconds: str) -> psycopg.AsyncConnection:
        """Return a connection in a transaction in the role; those that broke meanwhile are left."""
        for _ in range(self._pool.max_size + 1):
            connection = await self._pool.getconn()
            try:
                await connection.execute(_ENTER, (role, milliseconds))
                return connection
            except BaseException as error:
                is_broken = connection.broken
                await self._give_back(connection)
                if isinstance(error, _REFUSED):
                    raise refused_role(role) from None
                if not is_broken:
                    raise
        raise database_away()

    async def _give_back(self, connection: psycopg.AsyncConnection) -> None:
        """Return a connection, its transaction ended; one that still works is closed."""
        # Also where the client has gone, which cancels all that waits here.
        with anyio.CancelScope(shield=True):
            if connection.info.transaction_status in _OPEN:
                with suppress(psycopg.Error):
                    await connection.rollback()
            await self._pool.putconn(connection)


def refused_role(role: str) -> ApiError:
    """Return the answer to a key whose role the API may not take."""
    return forbidden(
        "The role of this key can't be used.",
        f"The operator lets the API take it: grant {role} to warehouse_api with inherit false, "
        "set true.",
        error="role_refused",
    )


def database_away() -> ApiError:
    """Return the answer while the database is away."""
    return unavailable(
        "database_away", "The database can't be reached.", "Try again in a few seconds."
    )


async def _configure(connection: psycopg.AsyncConnection) -> None:
    await connection.set_autocommit(True)
    await connection.execute(session.ALLOW_VIEWS)
    await connection.set_autocommit(False)
    await connection.set_read_only(True)
    _adapt(connection)


def _adapt(context: AdaptContext) -> None:
    for name in ("json", "jsonb"):
        context.adapters.register_loader(name, _RawJson)


async def _refuse_open_transaction(connection: psycopg.AsyncConnection) -> None:
    """Close a connection whose transaction goes on: its role would be the next request's."""
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise WarehouseError("a request left its transaction open")
