"""Connections to the database: one read-only transaction per request, in the role of its key.

The login is a member of `warehouse_api` alone: it may take the roles that keys stand for, and owns
nothing. Role and timeout are set for the transaction, so they end with it, however it ends.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, Self

import msgspec
import psycopg
from psycopg.abc import AdaptContext, Params, PQGen, Query
from psycopg.adapt import Loader
from psycopg.generators import send
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from serving.errors import ApiError, bad_request, forbidden, unavailable
from warehouse import database, session

logger = logging.getLogger("warehouse.api")

# A browser asks for as many tiles of a page at once: connecting would take longer than answering.
READY_CONNECTIONS = 6
# How long a request waits for a free connection, and for a new one while the database is away.
WAIT_SECONDS = 3
# The role comes last: what follows has its rights alone.
_ENTER = (
    b"select set_config('transaction_read_only', 'on', true), "
    b"set_config('statement_timeout', $1, true), set_config('role', $2, true)"
)


class _RawJson(Loader):
    """Loads JSON as its text: it is handed on as it is, with every digit."""

    def load(self, data: Any) -> msgspec.Raw:
        return msgspec.Raw(bytes(data))


# The connection is gone without a word, or with one of these.
_ENDED = (None, "57P01", "57P02")
_OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


class Connections:
    """A pool of connections of the API's login."""

    def __init__(self, most: int, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        url = database.api_url()
        self._pool = AsyncConnectionPool(
            url,
            kwargs=session.parameters(url) | {"application_name": "warehouse api"},
            min_size=min(READY_CONNECTIONS, most),
            max_size=most,
            timeout=WAIT_SECONDS,
            reconnect_timeout=WAIT_SECONDS,
            configure=_configure,
            open=False,
            name="warehouse api",
        )
        # Nobody else refers to them once their request was cancelled.
        self._returning: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to connect; the database may be away."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        if self._returning:
            await asyncio.wait(self._returning, timeout=WAIT_SECONDS)
        await self._pool.close()

    async def rows(
        self, role: str | None, statement: Query, values: Params | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows that a statement finds in a role; None is the API's own.

        All is sent at once, without `begin` and `rollback`: what is sent before a sync is one
        transaction. Were it not, the statement would run with the login's rights, which are none.
        Raises ApiError where the database is away, refuses a value, or takes too long.
        """
        with _translated():
            try:
                return await self._rows(role, statement, values)
            except PoolTimeout:
                raise
            except psycopg.OperationalError as error:
                if error.sqlstate not in _ENDED:
                    raise
                # The server ended the connection just now: as it restarts, or an operator asks.
                return await self._rows(role, statement, values)

    async def _rows(
        self, role: str | None, statement: Query, values: Params | None
    ) -> list[tuple[Any, ...]]:
        connection = await self._take()
        try:
            async with _AllAtOnce(connection) as pipeline:
                pipeline.enter(role, self._timeout)
                found = await connection.execute(statement, values)
            return await found.fetchall()
        finally:
            await self._give_back(connection)

    @asynccontextmanager
    async def as_role(
        self, role: str | None, seconds: float
    ) -> AsyncIterator[psycopg.AsyncConnection]:
        """Give a connection in a read-only transaction, for more than one statement.

        Raises ApiError like ``rows``; statements end after so many seconds.
        """
        with _translated():
            connection = await self._take()
            try:
                async with _AllAtOnce(connection) as pipeline:
                    await connection.execute("begin")
                    pipeline.enter(role, seconds)
                yield connection
            finally:
                await self._give_back(connection)

    async def _take(self) -> psycopg.AsyncConnection:
        """Return a connection; the pool replaces those that broke while nobody used them."""
        connection = await self._pool.getconn()
        while _has_ended(connection):
            await connection.close()
            await self._give_back(connection)
            connection = await self._pool.getconn()
        return connection

    async def _give_back(self, connection: psycopg.AsyncConnection) -> None:
        """Return a connection whose transaction has ended; where it can't be ended, close it."""
        # Also where the client has gone, which cancels all that waits here.
        returning = asyncio.create_task(self._end(connection))
        self._returning.add(returning)
        returning.add_done_callback(self._note_end)
        await asyncio.shield(returning)

    def _note_end(self, returning: asyncio.Task[None]) -> None:
        self._returning.discard(returning)
        if not returning.cancelled() and (error := returning.exception()):
            # Without what it says: it may quote rows.
            logger.error("a connection was not given back: %s", type(error).__name__)

    async def _end(self, connection: psycopg.AsyncConnection) -> None:
        if connection.info.transaction_status in _OPEN:
            with suppress(psycopg.Error):
                await connection.rollback()
        # Its transaction goes on, with the role of this request: nobody else may get it.
        if connection.info.transaction_status is not TransactionStatus.IDLE:
            await connection.close()
        await self._pool.putconn(connection)


class _AllAtOnce(psycopg.AsyncPipeline):
    """A pipeline that sends all at its end, in one packet, and then waits once.

    psycopg's own sends and waits for each command, which took a third of the time of a request.
    """

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._conn._pipeline = self
        return self

    async def __aexit__(self, *error: Any) -> None:
        try:
            await super().__aexit__(*error)
        except psycopg.Error:
            # Its list of prepared statements may name one that was never prepared, or is outdated.
            self._conn._prepared.clear()
            raise
        finally:
            self._conn._pipeline = None

    def enter(self, role: str | None, seconds: float) -> None:
        """Queue the statement that takes a role, before what is to have its permissions."""
        values = (str(int(1000 * seconds)).encode(), (role or "none").encode())
        self.command_queue.append(partial(self.pgconn.send_query_params, _ENTER, values))
        # Of its result only an error matters.
        self.result_queue.append(None)

    def _communicate_gen(self) -> PQGen[None]:
        while self.command_queue:
            # Written to memory, of which full blocks alone are sent before the sync at the end.
            self.command_queue.popleft()()
        yield from ()

    def _exit_gen(self) -> PQGen[None]:
        self._enqueue_sync()
        yield from self._communicate_gen()
        yield from send(self.pgconn)
        yield from self._fetch_gen(flush=False)


def _has_ended(connection: psycopg.AsyncConnection) -> bool:
    """Return whether the server has ended an unused connection: then there is something to read."""
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _translated() -> Iterator[None]:
    """Raise ApiError where the database is away, refuses a value, or takes too long."""
    try:
        yield
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
    # A page has too few rows for it, and estimates grow with the rows of all tenants.
    await connection.execute("select set_config('jit', 'off', false)")
    _adapt(connection)


def _adapt(context: AdaptContext) -> None:
    for name in ("json", "jsonb"):
        context.adapters.register_loader(name, _RawJson)
