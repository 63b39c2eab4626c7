"""A session with a source: one read-only snapshot, and what was open when it was taken.

Rows become visible when their transaction commits, and carry a time from before that. So a reader
that remembers only the time of its snapshot loses the rows of transactions that were open then.
`OpenTransactions` says how far back they may reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg

from ingestion.sources.files import SourceError
from ingestion.sources.postgres.declared import DeclaredSource
from warehouse import database
from warehouse.sql_files import read_sql

OLDEST_SOURCE = 12
_OPEN_TRANSACTIONS = read_sql(__file__, "open_transactions")
_PREPARED_TRANSACTIONS = read_sql(__file__, "prepared_transactions")
# What the texts of the source's values depend on. A connection pooler refuses these as parameters
# of a connection, so they are set in the transaction.
_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO,MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "row_security": "on",
    "idle_in_transaction_session_timeout": "0",
}
_LOST = (psycopg.OperationalError, psycopg.InterfaceError)


@dataclass(frozen=True, slots=True)
class OpenTransactions:
    """What was open just before the snapshot was taken.

    Whatever is not visible in the snapshot was written by a transaction that began at ``since`` or
    later, or that is one of ``prepared``. ``are_hidden`` says that the login may not see all
    transactions: then ``since`` is only as far back as the source declares.
    """

    asked_at: datetime
    since: datetime
    prepared: frozenset[str]
    are_hidden: bool


class SourceSession:
    """A connection to a source in a read-only transaction: all it reads is of one snapshot."""

    def __init__(self, connection: psycopg.Connection, source: DeclaredSource) -> None:
        self.connection = connection
        self.source = source
        self.open = _open_transactions(connection, source)
        connection.execute("begin isolation level repeatable read read only")
        limits = {
            "statement_timeout": f"{int(source.statement_timeout.total_seconds() * 1000)}ms",
            "lock_timeout": f"{int(source.lock_timeout.total_seconds() * 1000)}ms",
            # pg_catalog first, so that nothing in the source can shadow a function that is used.
            "search_path": f"pg_catalog, {source.search_path}, pg_temp",
        }
        for name, value in (_SETTINGS | limits).items():
            connection.execute("select set_config(%s, %s, true)", (name, value))

    @contextmanager
    def of_stream(self, stream: str) -> Iterator[psycopg.Connection]:
        """Let a stream read; its failure becomes a SourceError, and the snapshot stays."""
        name = f"{self.source.name}/{stream}"
        try:
            with self.connection.transaction():
                yield self.connection
        except psycopg.Error as error:
            raise SourceError(explained(error, name, self.source)) from None


@contextmanager
def source_session(source: DeclaredSource) -> Iterator[SourceSession]:
    """Open a session with a source. Raises SourceError if it can't be reached."""
    url = source.url()
    try:
        connection = psycopg.connect(
            url,
            autocommit=True,
            client_encoding="UTF8",
            application_name="warehouse pull",
            connect_timeout=10,
            prepare_threshold=None,
        )
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split()).rstrip(".?")
        raise SourceError(
            f"The source {source.name} at {database.where(url)} can't be reached: {reason}. Check "
            f"{source.url_variable} and that the server is up; the next pull reads what was missed."
        ) from None
    try:
        if connection.info.server_version < OLDEST_SOURCE * 10_000:
            raise SourceError(
                f"The source {source.name} is older than PostgreSQL {OLDEST_SOURCE}: it can't be "
                "pulled from."
            )
        try:
            session = SourceSession(connection, source)
        except psycopg.Error as error:
            raise SourceError(explained(error, source.name, source)) from None
        yield session
    finally:
        with suppress(psycopg.Error):
            connection.close()


def _open_transactions(connection: psycopg.Connection, source: DeclaredSource) -> OpenTransactions:
    """Ask what is open, before the snapshot is taken and in this order.

    What begins after the first statement is later than ``asked_at``. What is prepared between the
    two was open at the first, and what is committed after either is visible in the snapshot.
    """
    ((asked_at, oldest, are_hidden),) = connection.execute(_OPEN_TRANSACTIONS).fetchall()
    prepared = connection.execute(_PREPARED_TRANSACTIONS).fetchall()
    since = min(filter(None, (asked_at, oldest)))
    if are_hidden:
        since = min(since, asked_at - source.unseen_transaction)
    return OpenTransactions(asked_at, since, frozenset(name for (name,) in prepared), are_hidden)


def explained(error: psycopg.Error, name: str, source: DeclaredSource) -> str:
    """Return in one sentence why a source refused a stream, and what to do. Quotes no row."""
    reason = database.reason(error).rstrip(".")
    file = f"{name.rpartition('/')[2]}.sql"
    match error:
        case psycopg.errors.UndefinedColumn() | psycopg.errors.UndefinedTable():
            return f"{name}: the source has changed, or {file} is wrong: {reason}."
        case (
            psycopg.errors.UndefinedFunction()
            | psycopg.errors.DatatypeMismatch()
            | psycopg.errors.CannotCoerce()
            | psycopg.errors.InvalidTextRepresentation()
        ):
            return (
                f"{name}: a type in the source has changed, or {file} is wrong: {reason}. Cast the "
                f"column in {file}."
            )
        case psycopg.errors.InsufficientPrivilege():
            return (
                f"{name}: the login of {source.url_variable} may not read it: {reason}. Grant it "
                "select on what the stream reads."
            )
        case psycopg.errors.LockNotAvailable():
            return (
                f"{name}: another session of the source locks the table for longer than "
                f"{source.lock_timeout.total_seconds():.0f} s; the next pull reads it."
            )
        case psycopg.errors.QueryCanceled():
            return (
                f"{name}: the source canceled the statement ({reason}): give it more time with "
                "statement_timeout_seconds in source.yml, or an index on what it filters by."
            )
    if isinstance(error, _LOST) and error.sqlstate is None:
        return (
            f"{name}: the connection to the source was lost ({reason}). What has landed stays; the "
            "next pull reads the rest."
        )
    return f"{name}: the source refused {file}: {reason}."
