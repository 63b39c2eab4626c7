"""Starts and stops Dagster and the collector on one machine: all their processes, as one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from orchestration.definitions.instance import dagster_environment, end_lost_runs
from orchestration.operations.system_metrics import SystemMetrics
from orchestration.serve import ports
from orchestration.serve.parts import POLL_SECONDS, Part, Parts
from orchestration.serve.postgres_port import open_port
from warehouse import database, embedded, private_files
from warehouse.errors import WarehouseError
from warehouse.key_store import demo_site_key, example_keys
from warehouse.schema.migrate import migrate
from warehouse.settings import settings
from warehouse.sign_in_links import new_link

DEFINITIONS = "orchestration.definitions.code_location"
CODE_SERVER, WEB_SERVER, DAEMON = "code server", "web server", "daemon"
# They start once it has loaded the definitions.
NEED_CODE = {WEB_SERVER, DAEMON}
LOOPBACK = ("127.0.0.1", "::1", "localhost")
WAREHOUSE = (sys.executable, "-m", "orchestration.cli")
WEB = (sys.executable, "-m", "orchestration.serve.web")
COLLECTOR = (*WAREHOUSE, "collect")
# Warnings and errors alone: else each tick of a sensor would be a line.
QUIET = ("--log-level", "warning")
METRICS_STOP_SECONDS = 2


class ServeError(WarehouseError):
    """Dagster can't run here."""


def serve(
    host: str,
    port: int,
    docs_port: int,
    collector_port: int,
    api_port: int,
    postgres_port: int | None = None,
    *,
    dev: bool = False,
) -> None:
    """Run Dagster, its docs, the collector and the HTTP API, until SIGTERM or SIGINT.

    One that ends by itself is started again. Meanwhile BI tools reach the embedded PostgreSQL by
    ``postgres_port``. With ``dev`` the UI's "Reload definitions" loads changed code, and the first
    time keys are made and printed. Raises ServeError where Dagster already runs on this instance,
    or where a port is asked for of a server that is not the embedded one.
    """
    if postgres_port is not None and not database.is_embedded():
        raise ServeError(
            "--postgres-port is for the embedded server: BI tools reach the server in "
            "WAREHOUSE_DATABASE_URL as it is."
        )
    lock = lock_instance()
    probed = {"--port": port, "--docs-port": docs_port, "--collector-port": collector_port}
    if _has_login_of_api():
        probed["--api-port"] = api_port
    ports.probe(host, probed)
    ports.link_to(host, port=port, docs_port=docs_port)
    if settings().web_password is None and host not in LOOPBACK:
        print(
            f"Everybody who can reach {host} can start, change and stop everything. Set "
            "WAREHOUSE_DAGSTER_PASSWORD, or let only a proxy that authenticates people reach it.",
            file=sys.stderr,
        )
    private_files.tighten_home(settings().home)
    _prepare()
    if dev:
        for line in example_keys():
            print(line, file=sys.stderr)
        os.environ["WAREHOUSE_DEMO_SITE_KEY"] = demo_site_key(collector_port)
        print(f"Demo site: http://localhost:{collector_port}/demo/", file=sys.stderr)
    if not _has_login_of_api():
        print("The API does not run: set WAREHOUSE_API_DATABASE_URL.", file=sys.stderr)
    elif dev and host in LOOPBACK:
        with database.connect() as connection:
            name = f"[{host}]" if ":" in host else host
            link = new_link(connection, settings().home, f"http://{name}:{api_port}")
        print(f"The API, and a link that signs you in once: {link}", file=sys.stderr)
    with port_for_tools(postgres_port), system_metrics_recorded():
        _run(host, port, docs_port, collector_port, api_port, lock, dev=dev)


@contextlib.contextmanager
def port_for_tools(port: int | None) -> Iterator[None]:
    """Keep the port of BI tools open meanwhile, or closed without one."""
    if port is None:
        # One that was killed may have left it open.
        if database.is_embedded():
            embedded.close_port()
        yield
        return
    print(open_port(port), file=sys.stderr)
    try:
        yield
    finally:
        embedded.close_port()


@contextlib.contextmanager
def system_metrics_recorded() -> Iterator[None]:
    """Record the metrics of this machine and database meanwhile, once a minute."""
    stopping = threading.Event()
    # A daemon, because a database that does not answer must not delay the end.
    thread = threading.Thread(target=SystemMetrics().run, args=(stopping,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(METRICS_STOP_SECONDS)


def _run(
    host: str,
    port: int,
    docs_port: int,
    collector_port: int,
    api_port: int,
    lock: IO[str],
    *,
    dev: bool,
) -> None:
    environment = dagster_environment()
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopping.append(number))
    # A private folder, because anybody who can write to the socket can start runs.
    with tempfile.TemporaryDirectory(prefix="warehouse-") as folder:
        code_socket = Path(folder) / "code"
        workspace = Path(folder) / "workspace.yaml"
        workspace.write_text(_workspace(code_socket), "utf-8")
        commands = {
            "collector": [*COLLECTOR, "--host", host, "--port", str(collector_port)],
            CODE_SERVER: _code_server(code_socket, dev),
            WEB_SERVER: [*WEB, "dagster", host, str(port), str(workspace)],
            DAEMON: [_program("dagster-daemon"), "run", "-w", str(workspace), *QUIET],
            "docs server": [*WEB, "docs", host, str(docs_port)],
        }
        if _has_login_of_api():
            commands["API"] = [*WAREHOUSE, "api", "--host", host, "--port", str(api_port)]

        def part(name: str) -> Part:
            def start() -> subprocess.Popen[bytes]:
                if name == CODE_SERVER:
                    # Runs were in its group, and have ended with it.
                    end_lost_runs(environment)
                    code_socket.unlink(missing_ok=True)
                # Each process leads its own group.
                process = subprocess.Popen(
                    commands[name],
                    env=environment,
                    start_new_session=True,
                    pass_fds=[lock.fileno()],
                )
                print(process.pid, file=lock, flush=True)
                return process

            return Part(start, code_socket.exists if name in NEED_CODE else lambda: True)

        parts = Parts({name: part(name) for name in commands})
        once = [_write_docs(), *_report_to_dagster(environment)]
        is_open = False
        try:
            while not stopping:
                parts.look()
                if not is_open and ports.answers(host, port):
                    print(f"Open {settings().dagster_url}", file=sys.stderr)
                    is_open = True
                time.sleep(POLL_SECONDS)
        finally:
            parts.stop(once)
    print("Stopped.", file=sys.stderr)


def _has_login_of_api() -> bool:
    """Return whether the API can sign in: on the user's own server the user makes its login."""
    return database.is_embedded() or settings().api_server_url is not None


def _code_server(socket: Path, dev: bool) -> list[str]:
    """Return the command of the server that loads the definitions.

    With ``dev`` it runs the definitions in a child process, which "Reload definitions" replaces.
    """
    kind = ("code-server", "start") if dev else ("api", "grpc")
    where = ("--socket", str(socket), "--location-name", DEFINITIONS)
    return [_program("dagster"), *kind, "-m", DEFINITIONS, *where, *QUIET]


def lock_instance() -> IO[str]:
    """Lock this instance for this process, and for child processes that inherit the file.

    Two daemons would start every scheduled run twice, and each would mark the other's runs as lost.
    Child processes that outlive a killed parent hold the lock, too. Raises ServeError where another
    process holds it.
    """
    path = settings().dagster_home / "serve.lock"
    private_files.make_folder(path.parent)
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise ServeError(
            f"Dagster already runs on {path.parent}, as processes "
            f"{', '.join(lock.read().split())}. Use these, or end them first."
        ) from None
    lock.truncate(0)
    print(os.getpid(), file=lock, flush=True)
    return lock


def _workspace(code_socket: Path) -> str:
    import yaml

    server = {"host": "localhost", "socket": str(code_socket), "location_name": DEFINITIONS}
    return yaml.safe_dump({"load_from": [{"grpc_server": server}]})


def _prepare() -> None:
    from orchestration.operations.lineage import manifest_path

    migrate()
    private_files.make_folder(settings().docs)
    # Created here, because several processes would otherwise create it at the same time.
    manifest_path()


def _write_docs() -> subprocess.Popen[bytes]:
    """Start to write dbt's docs. If that fails, it prints why, and everything else works."""
    return subprocess.Popen(
        [*WAREHOUSE, "docs"],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _report_to_dagster(environment: dict[str, str]) -> list[subprocess.Popen[bytes]]:
    """Start to report what was built without Dagster, by the demo for example, if there is any."""
    with database.connect_as_builder(application_name="warehouse serve") as connection:
        row = connection.execute(
            "select exists (select 1 from warehouse.touched_periods where not reported_to_dagster)"
        ).fetchone()
    if row != (True,):
        return []
    command = [sys.executable, "-m", "orchestration.definitions.outside_runs"]
    return [subprocess.Popen(command, env=environment, start_new_session=True)]


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
