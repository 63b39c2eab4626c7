"""The status of every mart: rows, offset, age and latest checks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from warehouse.errors import WarehouseError
from warehouse.sql_files import read_sql


class NothingBuiltError(WarehouseError):
    """There are no marts yet."""


@dataclass(frozen=True, slots=True)
class MartStatus:
    """The status of one mart. ``batches_behind`` counts the batches that it has not read."""

    mart: str
    rows: int | None
    batch_seq: int | None
    batches_behind: int
    built_as_of: datetime | None
    freshness_seconds: int | None
    last_check_status: str | None
    last_check_at: datetime | None


@dataclass(frozen=True, slots=True)
class InferredClients:
    """Clients that only events mention: how many, and the first MOST_INFERRED by name."""

    count: int
    client_ids: list[str]


MOST_INFERRED = 20
STATUSES = read_sql(__file__, "mart_statuses")


def require_built(connection: psycopg.Connection, relation: str) -> None:
    """Check that a mart exists. Raises NothingBuiltError before the first build."""
    found = connection.execute("select to_regclass(%s)", (relation,)).fetchone()
    if found is None or found[0] is None:
        raise NothingBuiltError("Nothing is built yet. Run `warehouse build`.")


def mart_statuses(connection: psycopg.Connection) -> list[MartStatus]:
    """Return the status of every mart, by name. Raises NothingBuiltError before the first build."""
    require_built(connection, "marts.mart_status")
    return connection.cursor(row_factory=class_row(MartStatus)).execute(STATUSES).fetchall()


def inferred_clients(connection: psycopg.Connection) -> InferredClients:
    """Return the clients that no entity describes. A misspelt client_id is one of them.

    None are known where only other models were built.
    """
    if connection.execute("select to_regclass('marts.clients')").fetchone() == (None,):
        return InferredClients(0, [])
    found = connection.execute(
        "select client_id, count(*) over () from marts.clients where is_inferred "
        "order by client_id limit %s",
        (MOST_INFERRED,),
    ).fetchall()
    return InferredClients(found[0][1] if found else 0, [client_id for client_id, _ in found])
