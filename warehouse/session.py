"""The settings of every database session: the one place where they are listed.

Without them, defaults of the server, a database or a role (`alter … set`) and libpq's environment
variables would change the behaviour of the warehouse's connections: those of psycopg, dbt,
SQLAlchemy, Dagster's storage and psql.
"""

from __future__ import annotations

import os
from typing import Any

# All names are qualified with their schema. Temporary tables come last, so that none can shadow a
# table of the catalog.
SEARCH_PATH = "pg_catalog,pg_temp"

# A DBA's limits for interactive users would stop a long build or load, so they are switched off. A
# lock is waited for five minutes, so that a blocked command ends with a message. The URL's own
# `options` may override these. transaction_timeout keeps the server's value: PostgreSQL 16 does not
# know it and refuses a session that sets it.
LIMITS = {
    "statement_timeout": "0",
    "lock_timeout": "300000",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}

# A session starts with the login's own role, unless the URL's `options` set another one. Builds
# switch to the builders' role afterwards.
ROLE = {"role": "none"}

# Not listed because they change no result and are the operator's choice: synchronous_commit,
# tablespaces, memory, planner settings, message language. session_replication_role is not listed
# because only a superuser can set it.
SETTINGS = {
    "TimeZone": "UTC",
    # MDY fixes the order of day and month, which a default may change as well.
    "DateStyle": "ISO,MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "array_nulls": "on",
    # If off, queries on marts with policies would fail.
    "row_security": "on",
    "check_function_bodies": "on",
    # If on, the server would quote all names in the definitions that it returns.
    "quote_all_identifiers": "off",
    # A build must see what other sessions committed while it waited for their locks.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    # The statement of a killed client ends within 1,000 ms instead of running on with its locks.
    "client_connection_check_interval": "1000",
}

# A non-empty value keeps a session from reading views; only the session of an erasure sets one.
# Servers before 16.4 do not know the setting and refuse a session that sets it at its start.
VIEWS = "restrict_nonsystem_relation_kind"
KNOWS_VIEWS = f"select current_setting('{VIEWS}', true) is not null"
ALLOW_VIEWS = (
    f"select set_config('{VIEWS}', '', false) where current_setting('{VIEWS}', true) <> ''"
)

# libpq's variables that may add to the URL: locations of secrets and certificates, and the connect
# timeout. None of them names a server, user or database, or weakens TLS.
KEPT_VARIABLES = frozenset(
    {"PGPASSFILE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL", "PGSSLCRLDIR",
     "PGCONNECT_TIMEOUT"}
)  # fmt: skip

# libpq sends these to the server beside `options`, and they take precedence there.
STARTUP_VARIABLES = ("PGTZ", "PGDATESTYLE", "PGGEQO")
# These let libpq read a service file, which can define a whole connection.
SERVICE_VARIABLES = ("PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR")


def parameters(
    url: str, search_path: str = SEARCH_PATH, *, knows_views: bool = False
) -> dict[str, Any]:
    """Return the connection parameters of every session, in addition to its URL.

    With ``knows_views`` they include the setting VIEWS, which the server must know; otherwise run
    ALLOW_VIEWS after connecting.
    """
    from psycopg.conninfo import conninfo_to_dict

    given = conninfo_to_dict(url).get("options") or ""
    fixed = SETTINGS | ({VIEWS: ""} if knows_views else {}) | {"search_path": search_path}
    options = filter(None, (_options(LIMITS | ROLE), given, _options(fixed)))
    return {"client_encoding": "UTF8", "options": " ".join(options)}


def _options(settings: dict[str, str]) -> str:
    escaped = {name: value.replace(" ", r"\ ") for name, value in settings.items()}
    return " ".join(f"-c {name}={value}" for name, value in escaped.items())


def remove_libpq_variables() -> None:
    """Remove libpq's variables from the environment, so that only the URL decides the connection.

    Child processes start without them as well. With PGPORT set, the embedded server would listen
    on that port.
    """
    for name in list(os.environ):
        if name.startswith("PG") and name not in KEPT_VARIABLES:
            del os.environ[name]


def unwanted_variables() -> list[str]:
    """Return the names of libpq's variables that connections of the warehouse must not inherit."""
    import psycopg.pq

    known = [option.envvar for option in psycopg.pq.Conninfo.get_defaults() if option.envvar]
    names = {name.decode() for name in known} | {*STARTUP_VARIABLES, *SERVICE_VARIABLES}
    return sorted(names - KEPT_VARIABLES)
