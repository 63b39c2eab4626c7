"""A stand-in for Citus on one server (citus.sql), to test what the project asks of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from warehouse.schema.access.roles import ROLES
from warehouse.schema.migrate import migrate
from warehouse.settings import settings

_STAND_IN = Path(__file__).with_name("citus.sql")


@contextmanager
def on_cluster() -> Iterator[None]:
    """Set WAREHOUSE_CITUS, for this process and those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAREHOUSE_CITUS", "on")
        settings.cache_clear()
        try:
            yield
        finally:
            patch.undo()
            settings.cache_clear()


def stand_in(connection: psycopg.Connection) -> None:
    """Make a database look like the coordinator of three nodes, all of them this server."""
    connection.execute("set allow_system_table_mods = on")
    connection.execute(_STAND_IN.read_bytes())
    connection.execute("reset allow_system_table_mods")


@contextmanager
def distributed(connection: psycopg.Connection) -> Iterator[None]:
    """Let `warehouse init` distribute the tables, with the stand-in; WAREHOUSE_CITUS stays set.

    Roles are the server's: in the end they have no login any more.
    """
    stand_in(connection)
    try:
        with on_cluster():
            assert migrate().for_dba == []
            yield
    finally:
        for role in ROLES:
            connection.execute(sql.SQL("alter role {} nologin").format(sql.Identifier(role)))


def calls(connection: psycopg.Connection) -> list[str]:
    """Return what was called of the stand-in, in order."""
    return [call for (call,) in connection.execute("select call from citus.calls order by place")]


def tables_of(connection: psycopg.Connection, method: str) -> set[str]:
    """Return the tables that are distributed (method h) or copied to every node (n)."""
    found = connection.execute(
        "select n.nspname || '.' || c.relname from pg_catalog.pg_dist_partition as p "
        "inner join pg_class as c on p.logicalrelid = c.oid "
        "inner join pg_namespace as n on c.relnamespace = n.oid "
        "where p.partmethod = %s and not c.relispartition",
        (method,),
    )
    return {name for (name,) in found}
