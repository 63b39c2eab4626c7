"""Connections to the warehouse's database, and one clear sentence where there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from warehouse import embedded, session
from warehouse.errors import WarehouseError
from warehouse.settings import settings

OLDEST_SERVER = 16
ENCODING = "UTF8"
# SQLSTATEs of a table, schema or function that is not there.
NOT_SET_UP = {"42P01", "3F000", "42883"}
# How often a session that takes long is looked at for who blocks it.
LOOK_SECONDS = 1
# The group role that owns what builds make.
BUILDER = "warehouse_transformer"


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


def builder_url() -> str:
    """Return the libpq URL of the login that runs what builders wrote.

    The owner's own on a server of the user's where no other is set: `connect_as_builder` refuses
    it where that is not safe. Raises DatabaseError as ``url`` does.
    """
    configured = settings().builder_server_url
    if configured is not None:
        given = checked_url(configured.get_secret_value(), "WAREHOUSE_BUILDER_URL")
        if conninfo_to_dict(given)["dbname"] != conninfo_to_dict(url())["dbname"]:
            raise DatabaseError(
                "WAREHOUSE_BUILDER_URL names another database than the owner's URL."
            )
        return given
    return embedded.url(user=embedded.BUILDER_LOGIN) if is_embedded() else url()


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
    return _open(url(), "WAREHOUSE_DATABASE_URL", autocommit, application_name)


def connect_as_builder(
    *, autocommit: bool = False, application_name: str = "warehouse"
) -> psycopg.Connection:
    """Open a connection for reading or running what builders wrote, in the role of builders.

    Whoever may replace a view runs code in the session that reads it, and that code may step back
    to the session's login. So the login is one without other rights: see ``builder_url``. Without
    the roles, or for somebody who is no builder, the login keeps its own role.

    Raises DatabaseError as ``connect`` does, and where the login is the owner's although somebody
    else may build.
    """
    setting = "WAREHOUSE_BUILDER_URL" if settings().builder_server_url else "WAREHOUSE_DATABASE_URL"
    connection = _open(builder_url(), setting, autocommit, application_name)
    row = connection.execute(_BUILDS).fetchone()
    builds, other = row or (False, None)
    if other is not None:
        connection.close()
        raise DatabaseError(
            f"{other} may build, too, and could make this session's login, which may do more, run "
            "code of theirs. Make a login that is a member of warehouse_transformer alone, and set "
            "WAREHOUSE_BUILDER_URL to sign in as it."
        )
    if builds:
        connection.execute(f"set role {BUILDER}")
    if not autocommit:
        connection.commit()
    return connection


# Whether the role of builds owns what they make and is this session's to take; and, where this
# login may become the warehouse's owner, another one that may build but not that.
_BUILDS = """
    select
        pg_has_role(builder.oid, 'set') and exists (
            select from pg_namespace where nspname = 'marts' and nspowner = builder.oid
        ),
        (
            select min(other.rolname)
            from pg_namespace as warehouse
            inner join pg_roles as other
                on
                    other.rolcanlogin
                    and other.rolname <> session_user
                    and pg_has_role(other.oid, builder.oid, 'member')
                    and not pg_has_role(other.oid, warehouse.nspowner, 'member')
            where
                warehouse.nspname = 'warehouse'
                and pg_has_role(session_user, warehouse.nspowner, 'member')
        )
    from pg_roles as builder
    where builder.rolname = 'warehouse_transformer'
"""


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
    """Open a connection to any database with the settings that every session has."""
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
    """Return the parameters of every session, for programs that set nothing once connected."""
    if of_url not in _knows_views:
        # Where there is no server, none of them connects either.
        with suppress(psycopg.OperationalError), open_session(of_url) as connection:
            row = connection.execute(session.KNOWS_VIEWS).fetchone()
            _knows_views[of_url] = row == (True,)
    knows_views = _knows_views.get(of_url, False)
    return session.parameters(of_url, search_path, knows_views=knows_views)


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


def blockers(connection: psycopg.Connection, pid: int) -> str:
    """Return who holds what a session waits for, a sentence each; nothing where it does not wait.

    The state of others' sessions is known where the warehouse's owner may see it.
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
def seeing_blockers(
    pid: Callable[[], int | None], connect: Callable[[], psycopg.Connection]
) -> Iterator[Callable[[], str]]:
    """Look from time to time who blocks a session; give what tells who did when last looked.

    When a wait has timed out, nobody blocks any more. ``connect`` opens a connection to look
    through, once something takes long.
    """
    seen = [""]
    ended = threading.Event()

    def look() -> None:
        if ended.wait(LOOK_SECONDS):
            return
        # What can't be seen is not told; what happens to the session itself its own error tells.
        with suppress(psycopg.Error, DatabaseError), connect() as connection:
            connection.autocommit = True
            while not ended.wait(LOOK_SECONDS):
                if (waiting := pid()) and (found := blockers(connection, waiting)):
                    seen[0] = found

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield lambda: seen[0]
    finally:
        ended.set()
        watch.join()


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


def libpq_environment(of_url: str | None = None) -> dict[str, str]:
    """Return a connection, the owner's by default, as libpq's environment variables.

    Names are those of libpq (PGHOST, PGPASSWORD, PGSSLMODE, …).
    """
    import psycopg.pq

    of_url = of_url or url()
    given = {"port": "5432", **conninfo_to_dict(of_url), **_parameters(of_url)}
    names = {
        option.keyword.decode(): option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar
    }
    return {names[key]: str(value) for key, value in given.items() if key in names and value}


def sqlalchemy_url(
    driver: str = "psycopg", schema: str = session.SEARCH_PATH, of_url: str | None = None
) -> str:
    """Return a URL for SQLAlchemy, its driver named; a socket's folder goes into the query.

    It is the owner's where no other is given. With ``schema``, connections find and make tables
    there.
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
    if is_embedded() and login == embedded.BUILDER_LOGIN and "does not exist" in reason:
        return f"Builds can't sign in to the embedded server: {reason}. Run `warehouse init`."
    return (
        f"The database at {where(of_url)} can't be used: {reason}. "
        f"Check {setting} and that the server is up."
    )
