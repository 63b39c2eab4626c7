"""What each database session sets for itself, so that nothing outside the warehouse decides it.

Without these settings, defaults of the server, of a database or of a role (`alter … set`) and
libpq's environment variables would reach the warehouse's connections: those of psycopg, dbt,
SQLAlchemy, Dagster's storage and psql. This module is the only list of them.
"""

from __future__ import annotations

import os
from typing import Any

# Everything is named with its schema. Temporary tables come last, so that none of them can take the
# place of a catalogue's table.
SEARCH_PATH = "pg_catalog,pg_temp"

# Limits that a DBA sets for people would stop a long build or load; five minutes of waiting for a
# lock let whoever waits say so in the end. The URL's own `options` may set others. PostgreSQL 16
# does not know transaction_timeout and refuses a session that sets it, so that one stays the
# server's.
LIMITS = {
    "statement_timeout": "0",
    "lock_timeout": "300000",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}

# A login works as itself, unless the URL's own `options` say otherwise. Builds then take theirs.
ROLE = {"role": "none"}

# Not listed, because they change no result and are the operator's to choose: synchronous_commit,
# tablespaces, memory, the planner's settings, languages of messages. A superuser alone can set
# session_replication_role, so a session of another role could not even set it back.
SETTINGS = {
    "TimeZone": "UTC",
    # With the order of day and month, which a default may change, too.
    "DateStyle": "ISO,MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "array_nulls": "on",
    # Off, it would turn queries on marts with policies into errors.
    "row_security": "on",
    "check_function_bodies": "on",
    # On, the server would quote names in definitions that it returns, which were written without.
    "quote_all_identifiers": "off",
    # A build reads what other sessions have committed while it waited for them.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    # The statement of a killed client ends within a second instead of working on with its locks.
    "client_connection_check_interval": "1000",
}

# Set, it would keep sessions from reading views; one that erases sets it for itself. Servers before
# 16.4 do not know it, and refuse a session that asks for it as it starts.
VIEWS = "restrict_nonsystem_relation_kind"
KNOWS_VIEWS = f"select current_setting('{VIEWS}', true) is not null"
ALLOW_VIEWS = (
    f"select set_config('{VIEWS}', '', false) where current_setting('{VIEWS}', true) <> ''"
)

# libpq's variables that may add to the URL: where secrets and certificates are, how long to wait.
# None of them names a server, a user or a database, or makes TLS optional.
KEPT_VARIABLES = frozenset(
    {"PGPASSFILE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL", "PGSSLCRLDIR",
     "PGCONNECT_TIMEOUT"}
)  # fmt: skip

# libpq sends these to the server beside `options`, and the server lets them win.
STARTUP_VARIABLES = ("PGTZ", "PGDATESTYLE", "PGGEQO")
# Where libpq looks for a service, which would bring a whole connection along.
SERVICE_VARIABLES = ("PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR")


def parameters(
    url: str, search_path: str = SEARCH_PATH, *, knows_views: bool = False
) -> dict[str, Any]:
    """Return the connection parameters that every session has in addition to its URL.

    With ``knows_views``, of a server that knows that setting, that too; else ALLOW_VIEWS sets it.
    """
    from psycopg.conninfo import conninfo_to_dict

    given = conninfo_to_dict(url).get("options") or ""
    fixed = SETTINGS | ({VIEWS: ""} if knows_views else {}) | {"search_path": search_path}
    options = filter(None, (_options(LIMITS | ROLE), given, _options(fixed)))
    return {"client_encoding": "UTF8", "options": " ".join(options)}


def _options(settings: dict[str, str]) -> str:
    escaped = {name: value.replace(" ", r"\ ") for name, value in settings.items()}
    return " ".join(f"-c {name}={value}" for name, value in escaped.items())


def forget_libpq_variables() -> None:
    """Remove libpq's variables from the environment: the URL alone says where to connect, and how.

    Child processes start without them, too. The embedded server would also listen at PGPORT.
    """
    for name in list(os.environ):
        if name.startswith("PG") and name not in KEPT_VARIABLES:
            del os.environ[name]


def unwanted_variables() -> list[str]:
    """Return the names of libpq's variables that no connection of the warehouse may inherit."""
    import psycopg.pq

    known = [option.envvar for option in psycopg.pq.Conninfo.get_defaults() if option.envvar]
    names = {name.decode() for name in known} | {*STARTUP_VARIABLES, *SERVICE_VARIABLES}
    return sorted(names - KEPT_VARIABLES)
