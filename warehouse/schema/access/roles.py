"""The group roles, and what each may do outside of what dbt makes.

Roles belong to the server. They are made here where that is allowed; elsewhere the warehouse is its
owner's alone until a DBA has made them. Marts get their rights from what the models declare
(``warehouse.apply_access``).
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from warehouse import database, locks
from warehouse.database import BUILDER
from warehouse.embedded import BUILDER_LOGIN
from warehouse.locks import Lock

ACCESS = Path(__file__).parent
ROLES = (
    "warehouse_loader",
    "warehouse_transformer",
    "warehouse_analyst",
    "warehouse_tenant",
    "warehouse_marketing",
    "warehouse_api",
)
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
# What is there of grants and policies. Objects of other owners are theirs.
_STATE = """
    select coalesce(md5(string_agg(state::text, ' ' order by state::text)), '')
    from (
        select (kind, object, column_name, role, privilege)
        from warehouse.granted
        where schema_name in ('staging', 'warehouse', 'export') and pg_has_role(owner_id, 'usage')
        union all
        select (c.relname, c.relrowsecurity, p.polname, p.polroles, p.polqual, p.polcmd)
        from pg_class as c
        left join pg_policy as p on c.oid = p.polrelid
        where c.relnamespace = 'warehouse'::regnamespace and (c.relrowsecurity or p.oid is not null)
    ) as found (state)
"""
_REVOKE = """
    select distinct format('revoke all on %s %s from %I', kind, object, role)
    from warehouse.granted
    where schema_name in ('staging', 'warehouse', 'export') and pg_has_role(owner_id, 'usage')
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
        _apply_files(connection)
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


def _apply_files(connection: psycopg.Connection) -> None:
    """Run the files of grants and policies, unless they and what they made are unchanged."""
    files = [*sorted(ACCESS.glob("grants/*.sql")), ACCESS / "policies.sql"]
    texts = [path.read_text("utf-8") for path in files]
    applied = connection.execute(
        "select digest from warehouse.applied_files where name = 'access'"
    ).fetchone()
    if applied == (_digest(connection, texts),):
        return
    _run(connection, [statement for (statement,) in connection.execute(_REVOKE).fetchall()])
    _run(connection, texts)
    connection.execute(
        "insert into warehouse.applied_files (name, digest) values ('access', %s) "
        "on conflict (name) do update set digest = excluded.digest",
        (_digest(connection, texts),),
    )


def _digest(connection: psycopg.Connection, texts: list[str]) -> str:
    """Return a digest of the files and of the grants and policies that are there."""
    ((state,),) = connection.execute(_STATE)
    return hashlib.sha256("\0".join([*texts, state]).encode()).hexdigest()


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
