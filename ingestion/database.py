"""Connections to the warehouse's database, and one clear sentence where there is none."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ingestion import embedded, session
from ingestion.errors import WarehouseError
from ingestion.settings import settings

OLDEST_SERVER = 16
ENCODING = "UTF8"


class DatabaseError(WarehouseError):
    """The server can't be used; the message says why and what to do, without secrets."""


def url() -> str:
    """Return the libpq URL of the database, the embedded server's where none is set.

    Raises DatabaseError where it is no URL, or leaves host, user or database to be guessed, which
    dbt, SQLAlchemy and psycopg would each do in their own way.
    """
    configured = settings().server_url
    if configured is None:
        return embedded.url()
    return checked_url(configured.get_secret_value(), "WAREHOUSE_DATABASE_URL")


def checked_url(given: str, setting: str) -> str:
    """Return a libpq URL that names host, user and database, and has no password elsewhere.

    Raises DatabaseError, without quoting any of it, where it is none.
    """
    _refuse_unescaped(given, setting)
    try:
        parts = conninfo_to_dict(given)
    except (psycopg.ProgrammingError, UnicodeError):
        # Not the driver's own words: they quote the URL, password and all.
        raise DatabaseError(
            f"{setting} is not a libpq URL: expected postgresql://USER:PASSWORD@HOST/DATABASE."
        ) from None
    if missing := {"host", "user", "dbname"} - parts.keys():
        raise DatabaseError(
            f"{setting} names no {' and no '.join(sorted(missing))}; a socket's "
            "folder is given as ?host=/var/run/postgresql."
        )
    return given


def _refuse_unescaped(url: str, setting: str) -> None:
    """Refuse a password that would be read as a host, and then be shown as one."""
    try:
        parts = urlsplit(url)
        is_wrong = parts.netloc and (parts.netloc.count("@") > 1 or "@" in parts.path)
    except ValueError:
        is_wrong = True
    if is_wrong:
        raise DatabaseError(
            f"{setting} would be read wrongly: where user or password hold other than "
            "letters and digits, write @ as %40, / as %2F, # as %23, [ as %5B and so on."
        )


def is_embedded() -> bool:
    """Tell whether the embedded server is in use."""
    return settings().database_url is None and settings().database_url_file is None


def connect(*, autocommit: bool = False, application_name: str = "warehouse") -> psycopg.Connection:
    """Open a connection, starting the embedded server first where it is in use.

    Raises DatabaseError where the server can't be reached, refuses, is older than 16, or where the
    database is not encoded in UTF-8.
    """
    options = {"autocommit": autocommit, "application_name": application_name}
    try:
        try:
            connection = open_session(url(), **options)
        except psycopg.OperationalError:
            if not is_embedded():
                _refuse_old_server()
                raise
            embedded.start()
            connection = open_session(url(), **options)
    except embedded.EmbeddedServerError as error:
        raise DatabaseError(str(error)) from error
    except psycopg.OperationalError as error:
        raise DatabaseError(_unreachable(error)) from None
    try:
        _refuse_unfit(connection)
    except DatabaseError:
        connection.close()
        raise
    return connection


def open_session(url: str, **options: Any) -> psycopg.Connection:
    """Open a connection to any database with the settings that every session has."""
    return psycopg.connect(url, **session.parameters(url), **options)


def _refuse_unfit(connection: psycopg.Connection) -> None:
    """Raise DatabaseError where the server is too old or the database is not in UTF-8."""
    if connection.info.server_version < OLDEST_SERVER * 10_000:
        version = connection.info.parameter_status("server_version")
        raise DatabaseError(
            f"The server at {where()} is PostgreSQL {version}; the warehouse needs "
            f"{OLDEST_SERVER} or newer."
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != ENCODING:
        raise DatabaseError(
            f"The database at {where()} is encoded in {encoding}; the warehouse needs UTF8: create "
            "one with `create database NAME encoding 'UTF8' locale 'C' template template0` and "
            "name it in WAREHOUSE_DATABASE_URL."
        )


def _refuse_old_server() -> None:
    """Raise DatabaseError where a server refused a session because it is too old to know it."""
    try:
        connection = psycopg.connect(url())
    except psycopg.OperationalError:
        return
    with connection:
        _refuse_unfit(connection)


def reason(error: psycopg.Error) -> str:
    """Return in one line why the server refused, for logs and people: without what rows hold.

    Details quote rows, and so do the messages of data exceptions.
    """
    message, code = error.diag.message_primary, error.sqlstate
    if code and code.startswith("22"):
        return f"a value does not fit ({type(error).__name__}, SQLSTATE {code})"
    return " ".join((message or str(error) or type(error).__name__).split())


def where(of_url: str | None = None) -> str:
    """Return host, port and database, the warehouse's own or a checked URL's, for people."""
    parts = conninfo_to_dict(of_url or url())
    return f"{parts['host']}:{parts.get('port') or 5432}/{parts['dbname']}"


def libpq_environment() -> dict[str, str]:
    """Return the connection as libpq's environment variables, for dbt and psql.

    Names are those of libpq (PGHOST, PGPASSWORD, PGSSLMODE, …).
    """
    import psycopg.pq

    given = {"port": "5432", **conninfo_to_dict(url()), **session.parameters(url())}
    names = {
        option.keyword.decode(): option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar
    }
    return {names[key]: str(value) for key, value in given.items() if key in names and value}


def sqlalchemy_url(driver: str = "psycopg", schema: str = session.SEARCH_PATH) -> str:
    """Return the URL for SQLAlchemy, its driver named; a socket's folder goes into the query.

    With ``schema``, connections find and make tables there.
    """
    from sqlalchemy.engine import URL

    parts = dict(conninfo_to_dict(url()))
    set_by_session = session.parameters(url(), schema)
    return URL.create(
        f"postgresql+{driver}",
        username=_text(parts.pop("user", None)),
        password=_text(parts.pop("password", None)),
        # A host is required by Great Expectations, even where `host` in the query overrides it.
        host="localhost",
        database=_text(parts.pop("dbname", None)),
        query={key: str(value) for key, value in (parts | set_by_session).items() if value},
    ).render_as_string(hide_password=False)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _unreachable(error: psycopg.OperationalError) -> str:
    reason = " ".join(str(error).split()).rstrip(".?")
    return (
        f"The database at {where()} can't be used: {reason}. "
        "Check WAREHOUSE_DATABASE_URL and that the server is up."
    )
