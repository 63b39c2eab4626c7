"""More than one machine: spreads the tables over the workers of a Citus cluster.

Runs on the coordinator if WAREHOUSE_CITUS is on (docs/scaling.md). Events and models with a client
are distributed by it; what they are joined with is copied to every node; all else is the
coordinator's alone. dbt distributes its tables when it creates them (``warehouse.distribute``).
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from warehouse import database, session
from warehouse.errors import WarehouseError
from warehouse.sql_files import read_sql

EVENTS = "staging.raw_events"
# Copied to every node: what queries of a client's rows are joined with, and what policies look up.
REFERENCE_TABLES = (
    "staging.event_batches",
    "staging.clients",
    "staging.units",
    "staging.users",
    "staging.documents",
    "staging.dropped_months",
    "warehouse.tenants",
    "warehouse.erased_rows",
)
# Sessions of the warehouse set these themselves, but the coordinator's sessions on workers do not.
NODE_SETTINGS = session.SETTINGS | {
    # Policies call functions that look up the tenant on each node.
    "citus.allow_nested_distributed_execution": "on",
    # What a build has to read is in settings of its transaction.
    "citus.propagate_set_commands": "local",
}

_NODES = read_sql(__file__, "cluster_nodes")
_PREPARED_TRANSACTIONS = read_sql(__file__, "cluster_prepared_transactions")
_SET_ON_EVERY_NODE = read_sql(__file__, "cluster_set_on_every_node")


class ClusterError(WarehouseError):
    """The database is no coordinator of a cluster that can be used; the message says what to do."""


def set_up(connection: psycopg.Connection) -> None:
    """Distribute the tables that are not distributed yet, in the caller's transaction.

    Raises ClusterError if the database is no coordinator with workers, or if a node keeps no
    prepared transactions.
    """
    _refuse_unfit(connection)
    _set_on_every_node(connection)
    # Else a table that is created after another one was used in this transaction could not be.
    connection.execute("set local citus.multi_shard_modify_mode = 'sequential'")
    placed = [name for name in (*REFERENCE_TABLES, EVENTS) if _place(connection, name)]
    if placed:
        # Functions are copied to the workers when they are created: after what they read.
        connection.execute("delete from warehouse.applied_files where name <> 'access'")


def _refuse_unfit(connection: psycopg.Connection) -> None:
    where = f"WAREHOUSE_CITUS is on, but the database at {database.where()}"
    ((has_citus,),) = connection.execute(
        "select to_regclass('pg_catalog.pg_dist_node') is not null"
    )
    if not has_citus:
        raise ClusterError(
            f"{where} has no Citus: run `create extension citus` in it on every node, or unset "
            "WAREHOUSE_CITUS."
        )
    ((workers, has_coordinator),) = connection.execute(_NODES)
    if not has_coordinator:
        raise ClusterError(
            f"{where} is not known to its workers: run `select citus_set_coordinator_host('HOST')` "
            "in it, with the name by which they reach it."
        )
    if not workers:
        raise ClusterError(
            f"{where} has no workers: add each by `select citus_add_node('HOST', 5432)`."
        )
    without = [
        node
        for node, is_reached, setting in connection.execute(_PREPARED_TRANSACTIONS)
        if not is_reached or setting == "0"
    ]
    if without:
        raise ClusterError(
            f"{where} commits in two phases, which these nodes refuse or cannot be asked about: "
            f"{', '.join(without)}. Set max_prepared_transactions there, to max_connections or "
            "more, and restart them."
        )


def _set_on_every_node(connection: psycopg.Connection) -> None:
    """Set the defaults of the database's sessions on every node, its coordinator included."""
    commands = sql.SQL("; ").join(
        sql.SQL("alter database {} set {} = {}").format(
            sql.Identifier(connection.info.dbname), sql.SQL(name), sql.Literal(value)
        )
        for name, value in NODE_SETTINGS.items()
    )
    # Each node sets its own: it need not pass this on.
    block = (
        "do $set$ begin perform set_config('citus.enable_ddl_propagation', 'off', true); "
        f"{commands.as_string(connection)}; end $set$"
    )
    failed = connection.execute(_SET_ON_EVERY_NODE, {"block": block}).fetchall()
    if failed:
        raise ClusterError(
            "The defaults of sessions could not be set on every node. "
            + " ".join(f"{node}: {' '.join(reason.split())}." for node, reason in failed)
        )


def _place(connection: psycopg.Connection, table: str) -> bool:
    """Distribute or copy a table if that is not done yet; return whether it was to be done."""
    ((is_placed,),) = connection.execute(
        "select exists (select 1 from pg_catalog.pg_dist_partition "
        "where logicalrelid = %s::regclass)",
        (table,),
    )
    if is_placed:
        return False
    if table == EVENTS:
        connection.execute("select create_distributed_table(%s::regclass, 'client_id')", (table,))
    else:
        connection.execute("select create_reference_table(%s::regclass)", (table,))
    return True
