"""The group roles and their permissions on everything that dbt does not create.

Roles belong to the server. If the owner may not create them here, a DBA has to; until then only the
owner can use the warehouse. Grants on marts follow the models' declarations
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
from warehouse.database import ANALYST, API, BUILDER
from warehouse.embedded import API_LOGIN, BUILDER_LOGIN, READER_LOGIN
from warehouse.locks import Lock
from warehouse.settings import settings
from warehouse.sql_files import read_sql

ACCESS = Path(__file__).parent
ROLES = (
    "warehouse_loader",
    "warehouse_transformer",
    "warehouse_analyst",
    "warehouse_tenant",
    "warehouse_marketing",
    "warehouse_api",
)
# Only loads and builds need temporary tables. Tenants may not connect, because the planner's
# estimates would reveal other tenants' rows. The API switches to their roles and runs only its own
# queries.
DATABASE_PRIVILEGES = {
    "warehouse_loader": "connect, temporary",
    "warehouse_transformer": "connect, temporary",
    "warehouse_analyst": "connect",
    "warehouse_marketing": "connect",
    "warehouse_api": "connect",
}

# Resource limits of the logins in these groups, so that one login can't block all others. The
# timeouts are defaults, which a session may change; the other two limits are enforced.
LIMITS: dict[str, dict[str, str]] = {
    # A person with one or two dashboards. A query over all chats takes minutes at most; a query
    # that sorts more than a few of the largest marts on disk is a mistake.
    "warehouse_analyst": {
        "connection limit": "20",
        "statement_timeout": "15min",
        "idle_in_transaction_session_timeout": "5min",
        "temp_file_limit": "10GB",
    },
    # It reads one row.
    "warehouse_marketing": {
        "connection limit": "20",
        "statement_timeout": "10s",
        "idle_in_transaction_session_timeout": "10s",
        "temp_file_limit": "10MB",
    },
    # Its queries are indexed look-ups of one tenant's rows, and a page waits for them. 50 sessions
    # leave half of the server's default of 100 to everyone else.
    "warehouse_api": {
        "connection limit": "50",
        "statement_timeout": "30s",
        "idle_in_transaction_session_timeout": "30s",
        "temp_file_limit": "1GB",
    },
}
# The roles that keys of the API stand for, besides those of tenants: it takes one for a transaction
# and has none of their permissions otherwise.
TAKEN_BY_API = (ANALYST, "warehouse_marketing")
# PostgreSQL functions with which everybody may write: to large objects, which belong to no schema,
# and to the write-ahead log. `lo_import` and `lo_export` are reserved for superusers anyway.
WRITING_FUNCTIONS = (
    "lo_creat", "lo_create", "lo_from_bytea", "lo_put", "lowrite", "lo_truncate", "lo_truncate64",
    "pg_logical_emit_message",
)  # fmt: skip

_CREATE_ROLE = """
    do $$ begin
        create role {};
    exception when duplicate_object or unique_violation then
        -- Another database's init created it at the same time.
        null;
    end $$
"""
_ACCESS_STATE = read_sql(__file__, "access_state")
_REVOKE = """
    select distinct format('revoke all on %s %s from %I', kind, object, role)
    from warehouse.granted
    where schema_name in ('staging', 'warehouse', 'export') and pg_has_role(owner_id, 'usage')
"""
_MISSING_LIMITS = read_sql(__file__, "missing_limits")
_ROLES_OF_NODES = read_sql(__file__, "roles_of_nodes")
_REVOKE_WRITING_FUNCTIONS = read_sql(__file__, "revoke_writing_functions")


def set_up() -> list[str]:
    """Create the roles and apply their grants; return the statements that a DBA has to run.

    Changes only what differs, so it is safe and cheap to run at any time.
    """
    with database.connect(application_name="warehouse init") as connection:
        locks.take(connection, Lock.INIT)
        if for_dba := _create_roles(connection):
            return [*for_dba, "-- then run `warehouse init` again to grant their permissions"]
        _apply_files(connection)
        connection.execute("select warehouse.apply_access()")
        for_dba = _grant_differences(
            connection, ["database", "public"], _database_grants(connection)
        )
        if _owns_database(connection):
            _run(connection, for_dba)
            for_dba = []
        for statement in _server_statements(connection):
            # Without permission some fail and others only warn; listing them again shows which.
            with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)  # type: ignore[arg-type]
        return for_dba + [f"{statement};" for statement in _server_statements(connection)]


def _server_statements(connection: psycopg.Connection) -> list[str]:
    """Return the missing grants of roles to the API, revokes and limits of logins."""
    limits = [
        {"place": place, "role": role, "name": name, "value": value}
        for place, (role, of_role) in enumerate(LIMITS.items())
        for name, value in of_role.items()
    ]
    return [
        *(
            sql.SQL("grant {} to {} with inherit false, set true")
            .format(sql.Identifier(role), sql.Identifier(API))
            .as_string(connection)
            for (role,) in connection.execute(
                "select role from unnest(%s::text[]) as r (role) "
                "where not pg_has_role(%s, role, 'set')",
                (list(TAKEN_BY_API), API),
            )
        ),
        *(
            statement
            for (statement,) in connection.execute(
                _REVOKE_WRITING_FUNCTIONS, {"functions": list(WRITING_FUNCTIONS)}
            )
        ),
        *(
            sql.SQL("alter role {} login").format(sql.Identifier(role)).as_string(connection)
            for (role,) in (
                connection.execute(_ROLES_OF_NODES, {"roles": list(ROLES)})
                if settings().citus
                else ()
            )
        ),
        *(
            _limit_statement(*limit).as_string(connection)
            for limit in connection.execute(_MISSING_LIMITS, {"limits": Jsonb(limits)})
        ),
    ]


def _limit_statement(login: str, in_database: str | None, name: str, value: str) -> sql.Composed:
    role = sql.Identifier(login)
    if in_database is None:
        return sql.SQL("alter role {} {} {}").format(role, sql.SQL(name), sql.SQL(value))  # type: ignore[arg-type]
    return sql.SQL("alter role {} in database {} set {} = {}").format(
        role, sql.Identifier(in_database), sql.Identifier(name), sql.Literal(value)
    )


def _create_roles(connection: psycopg.Connection) -> list[str]:
    """Create the missing roles; return the statements that this role may not run."""
    ((may_create,),) = connection.execute(
        "select rolsuper or rolcreaterole from pg_roles where rolname = current_user"
    )
    existing = {name for (name,) in connection.execute("select rolname from pg_roles")}
    missing = {role: "nologin" for role in ROLES if role not in existing}
    # On the user's own server the user creates these logins, which need passwords.
    if database.is_embedded():
        logins = {BUILDER_LOGIN: BUILDER, READER_LOGIN: ANALYST, API_LOGIN: API}
        missing |= {
            login: f"login in role {group}"
            for login, group in logins.items()
            if login not in existing
        }
    if missing and not may_create:
        owner = sql.Identifier(connection.info.user).as_string(connection)
        return [
            *(f"create role {role} {options};" for role, options in missing.items()),
            f"grant {BUILDER} to {owner} with inherit true, set true;",
        ]
    for role, options in missing.items():
        connection.execute(sql.SQL(_CREATE_ROLE).format(sql.SQL(f"{role} {options}")))  # type: ignore[arg-type]
    # The owner may run builds as well, and transfers the ownership of their tables.
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
    """Run the grant and policy files, unless the files and what they created are unchanged."""
    files = [*sorted(ACCESS.glob("grants/*.sql")), ACCESS / "policies.sql"]
    if not settings().citus:
        files.remove(ACCESS / "grants" / "cluster.sql")
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
    """Return a digest of the files and of the existing grants and policies."""
    ((state,),) = connection.execute(_ACCESS_STATE)
    return hashlib.sha256("\0".join([*texts, state]).encode()).hexdigest()


def _database_grants(connection: psycopg.Connection) -> list[dict[str, str | None]]:
    granted = DATABASE_PRIVILEGES
    if settings().citus:
        # Nodes connect to each other in the role that reads.
        granted = granted | {"warehouse_tenant": "connect"}
    return [
        {
            "role": role, "kind": "database", "schema_name": "database",
            "name": connection.info.dbname, "privilege": privilege, "column_name": None,
        }
        for role, privileges in granted.items()
        for privilege in privileges.split(", ")
    ]  # fmt: skip


def _grant_differences(
    connection: psycopg.Connection, schemas: list[str], wanted: list[dict[str, str | None]]
) -> list[str]:
    rows = connection.execute(
        "select warehouse.grant_differences(%s, %s)", (schemas, Jsonb(wanted))
    )
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
