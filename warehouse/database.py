"""Connections to the warehouse's database, with one clear message when there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from warehouse import embedded, session
from warehouse.errors import WarehouseError
from warehouse.settings import settings
from warehouse.sql_files import read_sql

OLDEST_SERVER = 16
ENCODING = "UTF8"
# SQLSTATEs of a missing table, schema or function.
NOT_SET_UP = {"42P01", "3F000", "42883"}
# Interval at which a long-running session is checked for blockers.
POLL_SECONDS = 1
# The group role that owns everything that builds create.
BUILDER = "warehouse_transformer"
# The group role that reads every mart, and nothing else.
ANALYST = "warehouse_analyst"
# The group role that may take the roles that keys of the API stand for.
API = "warehouse_api"


class DatabaseError(WarehouseError):
    """The server can't be used; the message says why and what to do, without secrets."""


def url() -> str:
    """Return the libpq URL of the database, by default that of the embedded server.

    Raises DatabaseError if the setting is not a URL or names no host, user or database: dbt,
    SQLAlchemy and psycopg would each guess these differently.
    """
    configured = settings().server_url
    if configured is None:
        return embedded.url()
    return checked_url(configured.get_secret_value(), "WAREHOUSE_DATABASE_URL")


def builder_url() -> str:
    """Return the libpq URL of the login that runs SQL written by builders.

    On the user's own server it defaults to the owner's URL; `connect_as_builder` refuses that
    login where it is not safe. Raises DatabaseError like ``url``.
    """
    configured = settings().builder_server_url
    return _other_login(configured, "WAREHOUSE_BUILDER_URL", embedded.BUILDER_LOGIN)


def analyst_url() -> str:
    """Return the libpq URL of the login that reads marts.

    On the user's own server it defaults to the owner's URL; `connect_as_analyst` refuses that
    login where it is not safe. Raises DatabaseError like ``url``.
    """
    configured = settings().analyst_server_url
    return _other_login(configured, "WAREHOUSE_ANALYST_URL", embedded.READER_LOGIN)


def api_url() -> str:
    """Return the libpq URL of the login of the HTTP API.

    On the user's own server it must be set: marts run builders' code, which must never reach the
    owner's login. Raises DatabaseError without it, and like ``url``.
    """
    configured = settings().api_server_url
    if configured is None and not is_embedded():
        raise DatabaseError(
            f"Create a login that is a member of {API} only, and set WAREHOUSE_API_DATABASE_URL to "
            "sign in as it."
        )
    return _other_login(configured, "WAREHOUSE_API_DATABASE_URL", embedded.API_LOGIN)


def _other_login(configured: SecretStr | None, setting: str, embedded_login: str) -> str:
    if configured is None:
        return embedded.url(user=embedded_login) if is_embedded() else url()
    given = checked_url(configured.get_secret_value(), setting)
    if conninfo_to_dict(given)["dbname"] != conninfo_to_dict(url())["dbname"]:
        raise DatabaseError(
            f"{setting} names another database than WAREHOUSE_DATABASE_URL: set both to the same "
            "database."
        )
    return given


def checked_url(given: str, setting: str) -> str:
    """Return the URL if it names host, user and database and its password is escaped.

    Raises DatabaseError otherwise. The message never quotes the URL.
    """
    _refuse_unescaped(given, setting)
    try:
        parts = conninfo_to_dict(given)
    except (psycopg.ProgrammingError, UnicodeError):
        # The driver's own message would quote the URL, including the password.
        raise DatabaseError(
            f"{setting} is not a libpq URL: expected postgresql://USER:PASSWORD@HOST/DATABASE."
        ) from None
    if missing := {"host", "user", "dbname"} - parts.keys():
        raise DatabaseError(
            f"{setting} names no {' and no '.join(sorted(missing))}: add it. A socket's folder is "
            "given as ?host=/var/run/postgresql."
        )
    return given


def _refuse_unescaped(url: str, setting: str) -> None:
    """Refuse a URL whose unescaped password would be parsed, and then shown, as a host."""
    try:
        parts = urlsplit(url)
        is_wrong = parts.netloc and (parts.netloc.count("@") > 1 or "@" in parts.path)
    except ValueError:
        is_wrong = True
    if is_wrong:
        raise DatabaseError(
            f"{setting} can't be parsed: in user and password escape every character that is not "
            "a letter or digit, so @ as %40, / as %2F, # as %23, [ as %5B and so on."
        )


def is_embedded() -> bool:
    """Return whether the embedded server is in use."""
    return settings().database_url is None and settings().database_url_file is None


def connect(*, autocommit: bool = False, application_name: str = "warehouse") -> psycopg.Connection:
    """Open a connection; start the embedded server first if it is in use.

    Raises DatabaseError if the server can't be reached, refuses the connection or is older than
    16, or if the database is not encoded in UTF-8.
    """
    return _open(url(), "WAREHOUSE_DATABASE_URL", autocommit, application_name)


def connect_as_builder(
    *, autocommit: bool = False, application_name: str = "warehouse"
) -> psycopg.Connection:
    """Open a connection in the builders' role, to read or run SQL that builders wrote.

    Whoever may replace a view can run code in every session that reads it, and that code can
    reset the role to the session's login. So the login must have no other permissions: see
    ``builder_url``. If the roles do not exist, or the login is not a builder, it keeps its own
    role.

    Raises DatabaseError like ``connect``, and if the login is the owner's while another login may
    build as well.
    """
    setting = "WAREHOUSE_BUILDER_URL" if settings().builder_server_url else "WAREHOUSE_DATABASE_URL"
    connection = _open(builder_url(), setting, autocommit, application_name)
    row = connection.execute(_BUILDER_CHECK).fetchone()
    builds, other = row or (False, None)
    _refuse_other_builder(connection, other, BUILDER, "WAREHOUSE_BUILDER_URL")
    if builds:
        connection.execute(f"set role {BUILDER}")
    if not autocommit:
        connection.commit()
    return connection


def connect_as_analyst(
    *, autocommit: bool = False, application_name: str = "warehouse"
) -> psycopg.Connection:
    """Open a connection in the analysts' role, which reads every mart and nothing else.

    Code in views of builders could reset the role to the session's login, as in
    ``connect_as_builder``. Raises DatabaseError like that, and if the login may not take the role.
    """
    setting = "WAREHOUSE_ANALYST_URL" if settings().analyst_server_url else "WAREHOUSE_DATABASE_URL"
    connection = _open(analyst_url(), setting, autocommit, application_name)
    row = connection.execute(_BUILDER_CHECK).fetchone()
    _refuse_other_builder(connection, row[1] if row else None, ANALYST, "WAREHOUSE_ANALYST_URL")
    try:
        connection.execute(f"set role {ANALYST}")
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue):
        login = connection.info.user
        connection.close()
        raise DatabaseError(
            f"{login} may not read as an analyst: set WAREHOUSE_ANALYST_URL to sign in as a member "
            f"of {ANALYST}. If there is no such role yet, run `warehouse init`."
        ) from None
    if not autocommit:
        connection.commit()
    return connection


def connect_as_api(*, application_name: str = "warehouse api") -> psycopg.Connection:
    """Open a connection as the HTTP API, in its own role. Raises DatabaseError like ``connect``."""
    return _open(api_url(), "WAREHOUSE_API_DATABASE_URL", False, application_name)


def _refuse_other_builder(
    connection: psycopg.Connection, other: str | None, role: str, setting: str
) -> None:
    if other is not None:
        connection.close()
        raise DatabaseError(
            f"{other} may build, too, and could run code with this login's wider permissions. "
            f"Create a login that is a member of {role} only, and set {setting} to sign in as it."
        )


_BUILDER_CHECK = read_sql(__file__, "builder_check")


def _open(of_url: str, setting: str, autocommit: bool, application_name: str) -> psycopg.Connection:
    options = {"autocommit": autocommit, "application_name": application_name}
    try:
        try:
            connection = open_session(of_url, **options)
        except psycopg.OperationalError:
            if not is_embedded():
                _refuse_old_server()
                raise
            embedded.start()
            connection = open_session(of_url, **options)
    except embedded.EmbeddedServerError as error:
        raise DatabaseError(str(error)) from error
    except psycopg.OperationalError as error:
        raise DatabaseError(_unreachable(error, of_url, setting)) from None
    try:
        _refuse_unfit(connection)
    except DatabaseError:
        connection.close()
        raise
    return connection


def open_session(url: str, **options: Any) -> psycopg.Connection:
    """Open a connection to any database with the settings of every warehouse session."""
    connection = psycopg.connect(url, **session.parameters(url), **options)
    try:
        connection.execute(session.ALLOW_VIEWS)
        if not connection.autocommit:
            connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


_knows_views: dict[str, bool] = {}


def _parameters(of_url: str, search_path: str = session.SEARCH_PATH) -> dict[str, Any]:
    """Return every session's parameters, for programs that set nothing after connecting."""
    if of_url not in _knows_views:
        # Without a server, those programs can't connect either.
        with suppress(psycopg.OperationalError), open_session(of_url) as connection:
            row = connection.execute(session.KNOWS_VIEWS).fetchone()
            _knows_views[of_url] = row == (True,)
    knows_views = _knows_views.get(of_url, False)
    return session.parameters(of_url, search_path, knows_views=knows_views)


def _refuse_unfit(connection: psycopg.Connection) -> None:
    """Raise DatabaseError if the server is too old or the database is not in UTF-8."""
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
    """Raise DatabaseError if a server is too old to know the settings of a session."""
    try:
        connection = psycopg.connect(url())
    except psycopg.OperationalError:
        return
    with connection:
        _refuse_unfit(connection)


def blockers(connection: psycopg.Connection, pid: int) -> str:
    """Return one sentence for each session that blocks ``pid``; empty if nothing blocks it.

    A blocker's state is included where the warehouse's owner may see it.
    """
    found = connection.execute(
        "select pid, role_name, application_name, state, since from warehouse.blockers(%s)", (pid,)
    ).fetchall()
    return " ".join(_blocker(*session) for session in found)


def _blocker(
    pid: int, role: str, application: str, state: str | None, since: datetime | None
) -> str:
    what = f"Session {pid} of {role} ({application or 'no application name'})"
    if since is None:
        return f"{what} holds it."
    at = f"{since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{what} holds it: {state or 'working'} since {at}."


@contextmanager
def watch_blockers(
    pid: Callable[[], int | None], connect: Callable[[], psycopg.Connection]
) -> Iterator[Callable[[], str]]:
    """Poll which sessions block a session; yield a function that returns the last ones seen.

    After a wait has timed out nothing blocks any more, so they must be recorded while it lasts.
    ``connect`` opens the polling connection; it is called after the first POLL_SECONDS.
    """
    seen = [""]
    ended = threading.Event()

    def poll() -> None:
        if ended.wait(POLL_SECONDS):
            return
        # Best effort: a failure of the watched session is reported by that session's own error.
        with suppress(psycopg.Error, DatabaseError), connect() as connection:
            connection.autocommit = True
            while not ended.wait(POLL_SECONDS):
                if (waiting := pid()) and (found := blockers(connection, waiting)):
                    seen[0] = found

    poller = threading.Thread(target=poll, daemon=True)
    poller.start()
    try:
        yield lambda: seen[0]
    finally:
        ended.set()
        poller.join()


def reason(error: psycopg.Error) -> str:
    """Return in one line why the server refused, without any row content.

    An error's detail quotes rows, and so do the messages of data exceptions (class 22).
    """
    message, code = error.diag.message_primary, error.sqlstate
    if code and code.startswith("22"):
        return f"a value does not fit ({type(error).__name__}, SQLSTATE {code})"
    return " ".join((message or str(error) or type(error).__name__).split())


def where(of_url: str | None = None) -> str:
    """Return host, port and database of a checked URL, by default the warehouse's own."""
    parts = conninfo_to_dict(of_url or url())
    return f"{parts['host']}:{parts.get('port') or 5432}/{parts['dbname']}"


def libpq_environment(
    of_url: str | None = None, search_path: str = session.SEARCH_PATH
) -> dict[str, str]:
    """Return a connection, by default the owner's, as libpq's environment variables.

    Names are those of libpq (PGHOST, PGPASSWORD, PGSSLMODE, …).
    """
    import psycopg.pq

    of_url = of_url or url()
    given = {"port": "5432", **conninfo_to_dict(of_url), **_parameters(of_url, search_path)}
    names = {
        option.keyword.decode(): option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar
    }
    return {names[key]: str(value) for key, value in given.items() if key in names and value}


def sqlalchemy_url(
    driver: str = "psycopg", schema: str = session.SEARCH_PATH, of_url: str | None = None
) -> str:
    """Return a SQLAlchemy URL, by default the owner's; a socket's folder goes into the query.

    ``schema`` is the search path of its connections: where they find and create tables.
    """
    from sqlalchemy.engine import URL

    of_url = of_url or url()
    parts = dict(conninfo_to_dict(of_url))
    set_by_session = _parameters(of_url, schema)
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


def _unreachable(error: psycopg.OperationalError, of_url: str, setting: str) -> str:
    reason = " ".join(str(error).split()).rstrip(".?")
    login = conninfo_to_dict(of_url)["user"]
    own_logins = {embedded.BUILDER_LOGIN, embedded.READER_LOGIN, embedded.API_LOGIN}
    if is_embedded() and login in own_logins and "does not exist" in reason:
        return f"{login} can't sign in to the embedded server: {reason}. Run `warehouse init`."
    return (
        f"The database at {where(of_url)} can't be used: {reason}. "
        f"Check {setting} and that the server is up."
    )
