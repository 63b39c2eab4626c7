"""The group roles, and what each may do outside of what dbt makes.

Roles belong to the server. They are made here where that is allowed; elsewhere the warehouse is its
owner's alone until a DBA has made them. Marts get their rights from what the models declare
(``warehouse.apply_access``).
"""

from __future__ import annotations

import re
from contextlib import suppress

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from warehouse import database, locks
from warehouse.database import BUILDER
from warehouse.embedded import BUILDER_LOGIN
from warehouse.locks import Lock

ROLES = (
    "warehouse_loader",
    "warehouse_transformer",
    "warehouse_analyst",
    "warehouse_tenant",
    "warehouse_marketing",
    "warehouse_api",
)
# By role and object: what it may do there, of some columns alone where they are named. Whatever
# else these roles, or everybody, may do in these schemas is taken from them.
RIGHTS: dict[str, dict[str, str]] = {
    "warehouse_loader": {
        "schema staging": "usage",
        "sequence staging.batch_ids": "usage",
        "function staging.add_raw_partitions": "execute",
        "function staging.landed_and_dropped": "execute",
        "function warehouse.blockers": "execute",
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
        "function warehouse.blockers": "execute",
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
# Loads and builds work with temporary tables; nobody else makes anything. Tenants do not sign in:
# the planner's estimates would show them whose rows there are beside their own. The API takes their
# roles, one at a time, and runs its own queries alone.
DATABASE_RIGHTS = {
    "warehouse_loader": "connect, temporary",
    "warehouse_transformer": "connect, temporary",
    "warehouse_analyst": "connect",
    "warehouse_marketing": "connect",
    "warehouse_api": "connect",
}

# What a login of these groups may take of the server, so that one does not stop all others. The
# limits of time are defaults, which a session may change; the other two hold.
LIMITS: dict[str, dict[str, str]] = {
    # A person and a dashboard or two. A query over all chats takes minutes at the most; what sorts
    # more than a few of the largest marts on disk is a mistake.
    "warehouse_analyst": {
        "connection limit": "20",
        "statement_timeout": "15min",
        "idle_in_transaction_session_timeout": "5min",
        "temp_file_limit": "10GB",
    },
    # One row.
    "warehouse_marketing": {
        "connection limit": "20",
        "statement_timeout": "10s",
        "idle_in_transaction_session_timeout": "10s",
        "temp_file_limit": "10MB",
    },
    # Its queries are indexed look-ups of one tenant's rows; a page waits for them. As many sessions
    # as leave half of the server's hundred to all others.
    "warehouse_api": {
        "connection limit": "50",
        "statement_timeout": "30s",
        "idle_in_transaction_session_timeout": "30s",
        "temp_file_limit": "1GB",
    },
}
# Functions of PostgreSQL that let everybody write: large objects, which belong to no schema, and
# the write-ahead log. `lo_import` and `lo_export` are a superuser's anyway.
WRITING_FUNCTIONS = (
    "lo_creat", "lo_create", "lo_from_bytea", "lo_put", "lowrite", "lo_truncate", "lo_truncate64",
    "pg_logical_emit_message",
)  # fmt: skip

_CREATE = """
    do $$ begin
        create role {};
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
# Of each login the limits of the first of its groups that are not set for it, neither here nor for
# all databases. They are for nobody who may do more than these groups.
_WITHOUT_LIMIT = """
    select distinct on (r.oid, l.name)
        r.rolname,
        case when l.name <> 'connection limit' then current_database() end,
        l.name,
        l.value
    from jsonb_to_recordset(%(limits)s) as l (place integer, role name, name text, value text)
    inner join pg_roles as g on l.role = g.rolname
    inner join pg_roles as r
        on r.rolcanlogin and not r.rolsuper and pg_has_role(r.oid, g.oid, 'usage')
    where
        not exists (
            select from pg_roles as more
            where
                more.rolname = any(array['warehouse_loader', 'warehouse_transformer', session_user])
                and pg_has_role(r.oid, more.oid, 'member')
        )
        and case l.name
            when 'connection limit' then r.rolconnlimit = -1
            else not exists (
                select from pg_db_role_setting as s
                cross join lateral unnest(s.setconfig) as c (setting)
                where
                    s.setrole = r.oid
                    and s.setdatabase in (
                        0, (select oid from pg_database where datname = current_database())
                    )
                    and c.setting like l.name || '=%%'
            )
        end
    order by r.oid, l.name, l.place
"""
_WRITERS = """
    select 'revoke execute on function ' || p.oid::regprocedure || ' from public'
    from pg_proc as p
    where
        p.pronamespace = 'pg_catalog'::regnamespace
        and p.proname = any(%s)
        and has_function_privilege('public', p.oid, 'execute')
    order by 1
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
        if _owns_database(connection):
            _run(connection, of_database)
            of_database = []
        for statement in _of_server(connection):
            # Some are refused, others do nothing but warn: what is left then says which.
            with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)  # type: ignore[arg-type]
        return of_database + [f"{statement};" for statement in _of_server(connection)]


def _of_server(connection: psycopg.Connection) -> list[str]:
    """Return what is left to run: what is taken from everybody, and limits of logins."""
    limits = [
        {"place": place, "role": role, "name": name, "value": value}
        for place, (role, of_role) in enumerate(LIMITS.items())
        for name, value in of_role.items()
    ]
    return [
        *(statement for (statement,) in connection.execute(_WRITERS, (list(WRITING_FUNCTIONS),))),
        *(
            _limiting(*limit).as_string(connection)
            for limit in connection.execute(_WITHOUT_LIMIT, {"limits": Jsonb(limits)})
        ),
    ]


def _limiting(login: str, in_database: str | None, name: str, value: str) -> sql.Composed:
    role = sql.Identifier(login)
    if in_database is None:
        return sql.SQL("alter role {} {} {}").format(role, sql.SQL(name), sql.SQL(value))  # type: ignore[arg-type]
    return sql.SQL("alter role {} in database {} set {} = {}").format(
        role, sql.Identifier(in_database), sql.Identifier(name), sql.Literal(value)
    )


def _make_roles(connection: psycopg.Connection) -> list[str]:
    """Create what is missing; return the statements that this role may not run."""
    ((may_create,),) = connection.execute(
        "select rolsuper or rolcreaterole from pg_roles where rolname = current_user"
    )
    there = {name for (name,) in connection.execute("select rolname from pg_roles")}
    missing = {role: "nologin" for role in ROLES if role not in there}
    # On a server of the user's, who builds is the user's to say: it takes a password.
    if database.is_embedded() and BUILDER_LOGIN not in there:
        missing[BUILDER_LOGIN] = f"login in role {BUILDER}"
    if missing and not may_create:
        owner = sql.Identifier(connection.info.user).as_string(connection)
        return [
            *(f"create role {role} {options};" for role, options in missing.items()),
            f"grant {BUILDER} to {owner} with inherit true, set true;",
        ]
    for role, options in missing.items():
        connection.execute(sql.SQL(_CREATE).format(sql.SQL(f"{role} {options}")))  # type: ignore[arg-type]
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
