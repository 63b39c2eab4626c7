"""The group roles, and what each may do outside of what dbt makes.

Roles belong to the server. They are made here where that is allowed; elsewhere the warehouse is its
owner's alone until a DBA has made them. Marts get their rights from what the models declare
(``warehouse.apply_access``).
"""

from __future__ import annotations

import re

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from ingestion import database, locks
from ingestion.locks import Lock

ROLES = (
    "warehouse_loader",
    "warehouse_transformer",
    "warehouse_analyst",
    "warehouse_tenant",
    "warehouse_marketing",
)
BUILDER = "warehouse_transformer"
# By role and object: what it may do there, of some columns alone where they are named. Whatever
# else these roles, or everybody, may do in these schemas is taken from them.
RIGHTS: dict[str, dict[str, str]] = {
    "warehouse_loader": {
        "schema staging": "usage",
        "sequence staging.batch_ids": "usage",
        "function staging.add_raw_partitions": "execute",
        "function staging.landed_and_dropped": "execute",
        "table staging.dropped_months": "select",
        # Whose lines are suppressed.
        "schema warehouse": "usage",
        "table warehouse.erasures": "select (erasure_id, is_of_one_client, subject_hash, "
        "identifier_length, identifier_hash)",
        "table warehouse.erasure_key": "select",
        # Read for duplicates, by key alone.
        "table staging.raw_events": "insert, select (client_id, event_id, timestamp)",
        "table staging.loads": "select, insert, update (state, error, ended_at)",
        "table staging.event_batches": "select, insert",
        "table staging.rejected_events": "insert",
        "table staging.suppressed_events": "insert",
        "table staging.used_sequences": "insert",
        "table staging.visitor_salts": "select, insert, delete",
        "table warehouse.lock_batch_seq": "update",
        "table warehouse.lock_landing": "update",
        "table staging.clients": "select, insert, update",
        "table staging.units": "select, insert, update",
        "table staging.users": "select, insert, update",
        "table staging.documents": "select, insert, update",
    },
    "warehouse_transformer": {
        "schema staging": "usage",
        "function staging.take_statistics": "execute",
        "table staging.raw_events": "select",
        "table staging.loads": "select",
        # What a rebuild that may lose events counts as erased, too.
        "table staging.event_batches": "select, update (erased)",
        "table staging.suppressed_events": "select",
        "table staging.used_sequences": "select",
        "table staging.clients": "select",
        "table staging.units": "select",
        "table staging.users": "select",
        "table staging.documents": "select",
        "schema warehouse": "usage",
        "table warehouse.builds": "select, insert, update, delete",
        "table warehouse.model_offsets": "select, insert, update",
        "table warehouse.sliding_models": "select, insert, update",
        "table warehouse.view_digests": "select, insert, update",
        "table warehouse.access": "select, insert, update, delete",
        "table warehouse.check_results": "select, insert",
        "table warehouse.restatements": "select, insert",
        "table warehouse.alert_actions": "select",
        "table warehouse.touched_periods": "select, insert, delete",
        "table warehouse.erased_rows": "select, insert",
        "table warehouse.erasures": "select (erasure_id, batch_seq, rows_forgotten_at)",
        "table warehouse.run_events": "select",
        "table warehouse.exports": "select",
        "table staging.dropped_months": "select",
        "table warehouse.lock_access": "update",
        "table warehouse.lock_build": "update",
        "table warehouse.lock_dbt": "update",
        "table warehouse.lock_models": "select, insert, update",
        "table warehouse.objects": "select",
        "table warehouse.rights": "select",
        "function warehouse.pin_build": "execute",
        "function warehouse.refuse_earlier_as_of": "execute",
        "function warehouse.lock_model": "execute",
        "function warehouse.begin_model": "execute",
        "function warehouse.end_model": "execute",
        "function warehouse.declared_differences": "execute",
        "function warehouse.follow_declaration": "execute",
        "function warehouse.has_news": "execute",
        "function warehouse.slide": "execute",
        "function warehouse.last_as_of": "execute",
        "function warehouse.stands_at": "execute",
        "function warehouse.percentile": "execute",
        "function warehouse.differences": "execute",
        "function warehouse.protection": "execute",
        "function warehouse.apply_access": "execute",
    },
    # What views in marts read of the bookkeeping: they read with the rights of who asks.
    "warehouse_analyst": {
        "schema warehouse": "usage",
        "table warehouse.model_offsets": "select (model, batch_seq, as_of, row_count, moved_at)",
        "table warehouse.check_results": "select (check_name, model, severity, passed, checked_at)",
        "table warehouse.builds": "select (invocation_id, batch_seq, as_of, window_start, "
        "window_end, full_refresh, state, started_at, ended_at, models)",
        "table warehouse.restatements": "select (mart, client_id, period, old_values, new_values, "
        "cause, run, restated_at)",
        "table warehouse.alert_actions": "select (alert_id, action, taken_by, taken_at)",
        "table warehouse.run_events": "select (run_id, event, job, occurred_at, detail)",
        "table warehouse.exports": "select (export_id, target, state, reason, accepted_by, run, "
        "build, ended_at)",
        "table staging.loads": "select (load_id, kind, source, state, error, ended_at)",
        "table staging.event_batches": "select (load_id, received, accepted)",
        "function warehouse.last_as_of": "execute",
        "function warehouse.stands_at": "execute",
        "function warehouse.percentile": "execute",
    },
    "warehouse_tenant": {
        # Of which policies let it see its own row.
        "table warehouse.tenants": "select (role_name, client_id, user_id)",
        "table warehouse.restatements": "select (mart, client_id, period, old_values, new_values, "
        "cause, run, restated_at)",
        "function warehouse.last_as_of": "execute",
        "function warehouse.stands_at": "execute",
    },
    "warehouse_marketing": {
        "schema export": "usage",
        "table export.analytics_platform_stats": "select",
    },
}
# Loads and builds work with temporary tables; nobody else makes anything.
DATABASE_RIGHTS = dict.fromkeys(ROLES, "connect") | {
    "warehouse_loader": "connect, temporary",
    "warehouse_transformer": "connect, temporary",
}

_CREATE = """
    do $$ begin
        create role {} nologin;
    exception when duplicate_object or unique_violation then
        -- Another database's init made it just now.
        null;
    end $$
"""
# Inserts by builds, which do not own this table as they own the marts.
_RESTATEMENTS = """
    select p.statement
    from warehouse.protection('warehouse.restatements', 'client') as p (statement)
    union all
    select 'create policy builders on warehouse.restatements to warehouse_transformer using (true)'
    where not exists (
        select from pg_policy
        where polrelid = 'warehouse.restatements'::regclass and polname = 'builders'
    )
"""


def set_up() -> list[str]:
    """Make the roles and give them their rights; return what a DBA must run instead, if anything.

    Changes only what differs, so it is safe and cheap at any time.
    """
    with database.connect(application_name="warehouse init") as connection:
        locks.take(connection, Lock.INIT)
        if left := _make_roles(connection):
            return [*left, "-- then run `warehouse init` again, which gives them their rights"]
        _run(connection, _differences(connection, ["staging", "warehouse", "export"], _wanted()))
        _run(connection, [row[0] for row in connection.execute(_RESTATEMENTS)])
        connection.execute("select warehouse.apply_access()")
        of_database = _differences(connection, ["database", "public"], _of_database(connection))
        if not _owns_database(connection):
            return of_database
        _run(connection, of_database)
    return []


def builds_as_builder(connection: psycopg.Connection) -> bool:
    """Tell whether the role of builds owns what they make, and is this connection's to take."""
    ((found,),) = connection.execute(
        "select exists (select from pg_roles where rolname = %s and pg_has_role(oid, 'set')) "
        "and exists (select from pg_namespace where nspname = 'marts' "
        "and pg_get_userbyid(nspowner) = %s)",
        (BUILDER, BUILDER),
    )
    return found


def _make_roles(connection: psycopg.Connection) -> list[str]:
    """Create what is missing; return the statements that this role may not run."""
    ((may_create,),) = connection.execute(
        "select rolsuper or rolcreaterole from pg_roles where rolname = current_user"
    )
    there = {name for (name,) in connection.execute("select rolname from pg_roles")}
    missing = [role for role in ROLES if role not in there]
    if missing and not may_create:
        owner = sql.Identifier(connection.info.user).as_string(connection)
        return [
            *(f"create role {role} nologin;" for role in missing),
            f"grant {BUILDER} to {owner} with inherit true, set true;",
        ]
    for role in missing:
        connection.execute(sql.SQL(_CREATE).format(sql.Identifier(role)))
    # The owner runs builds, too, and hands what they make over.
    ((uses, may_grant),) = connection.execute(
        "select pg_has_role(%(role)s, 'usage') and pg_has_role(%(role)s, 'set'), "
        "pg_has_role(%(role)s, 'usage with admin option')",
        {"role": BUILDER},
    )
    if uses:
        return []
    grant = f"grant {BUILDER} to {{}} with inherit true, set true"
    statement = sql.SQL(grant).format(sql.Identifier(connection.info.user))
    if not may_grant:
        return [f"{statement.as_string(connection)};"]
    connection.execute(statement)
    return []


def _wanted() -> list[dict[str, str | None]]:
    return [
        {
            "role": role, "kind": kind, "schema_name": schema, "name": name or schema,
            "privilege": privilege, "column_name": column,
        }
        for role, objects in RIGHTS.items()
        for what, privileges in objects.items()
        for kind, _, path in [what.partition(" ")]
        for schema, _, name in [path.partition(".")]
        for privilege, columns in re.findall(r"(\w+)(?: \(([^)]*)\))?(?:, |$)", privileges)
        for column in (columns.split(", ") if columns else [None])
    ]  # fmt: skip


def _of_database(connection: psycopg.Connection) -> list[dict[str, str | None]]:
    return [
        {
            "role": role, "kind": "database", "schema_name": "database",
            "name": connection.info.dbname, "privilege": privilege, "column_name": None,
        }
        for role, privileges in DATABASE_RIGHTS.items()
        for privilege in privileges.split(", ")
    ]  # fmt: skip


def _differences(
    connection: psycopg.Connection, schemas: list[str], wanted: list[dict[str, str | None]]
) -> list[str]:
    rows = connection.execute("select warehouse.differences(%s, %s)", (schemas, Jsonb(wanted)))
    return [statement for (statement,) in rows]


def _owns_database(connection: psycopg.Connection) -> bool:
    ((owns,),) = connection.execute(
        "select bool_and(pg_has_role(o.owner_id, 'usage')) from warehouse.objects as o "
        "where o.schema_name in ('database', 'public')"
    )
    return owns


def _run(connection: psycopg.Connection, statements: list[str]) -> None:
    for statement in statements:
        connection.execute(statement)  # type: ignore[arg-type]
