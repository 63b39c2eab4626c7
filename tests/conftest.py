"""Real parts for the tests: an embedded server for the session, a fresh database for each test."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import hypothesis
import psycopg
import pytest
from hypothesis import HealthCheck, Phase

from warehouse import embedded
from warehouse.schema.migrate import migrate
from warehouse.settings import settings

TEMPLATE = "warehouse_template"

# Whoever runs the tests may pull from sources of their own, which Dagster would know as well.
for variable in ("WAREHOUSE_SOURCES", "CRM_DATABASE_URL"):
    os.environ.pop(variable, None)

# A profile of property tests for each tier: `fast` tries the same few examples everywhere, `deep`
# twice as many, others with each `--hypothesis-seed`. What fails is made smaller for at most
# five minutes (Hypothesis's own limit); the output says how to run that example again.
_BOTH = {
    "deadline": None,
    "phases": (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    "print_blob": True,
    "suppress_health_check": [
        HealthCheck.too_slow,
        HealthCheck.large_base_example,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
}
FAST_EXAMPLES = 100
hypothesis.settings.register_profile(
    "fast", max_examples=FAST_EXAMPLES, derandomize=True, database=None, **_BOTH
)
hypothesis.settings.register_profile("deep", max_examples=2 * FAST_EXAMPLES, **_BOTH)
hypothesis.settings.load_profile("fast")


def examples(count: int) -> hypothesis.settings:
    """Return the settings of a test that tries so many examples in `fast`, more in `deep`."""
    tier = hypothesis.settings.default.max_examples // FAST_EXAMPLES
    return hypothesis.settings(max_examples=count * tier)


# A parameter that `make test` leaves to `make test-deep`; the oldest server that is supported.
DEEP = partial(pytest.param, marks=pytest.mark.deep)
ON_16 = DEEP(16)


class Server:
    """One embedded server of a major version, with a migrated database to copy.

    The folder ``shared`` is one for all processes of a session.
    """

    def __init__(self, home: Path, version: int, shared: Path) -> None:
        self.home = home
        self.version = version
        self.shared = shared
        self._made = 0
        with self.environment():
            embedded.start()
            self._admin = psycopg.connect(self.url("postgres"), autocommit=True)
            self._admin.execute(f"create database {TEMPLATE}")
        with self.environment(self.url(TEMPLATE)):
            migrate()

    def spare_the_disk(self) -> None:
        """Wait for no disk: what is committed outlives the kill of any process, not a power cut."""
        for name in ("fsync", "full_page_writes"):
            self.set(name, "off")

    def set(self, name: str, value: str) -> None:
        """Set a parameter of the server, for all sessions."""
        self._admin.execute(f"alter system set {name} = {value}")
        self._admin.execute("select pg_reload_conf()")

    def url(self, database: str) -> str:
        directory = embedded.socket_dir(self.home / f"pg{self.version}")
        return f"postgresql://postgres@/{database}?host={directory}"

    def new_database(self, template: str = TEMPLATE, name: str | None = None) -> str:
        """Return the URL of a fresh database."""
        self._made += 1
        name = name or f"test_{self._made}"
        self._admin.execute(f"create database {name} template {template}")
        return self.url(name)

    def has_database(self, name: str) -> bool:
        found = self._admin.execute("select from pg_database where datname = %s", (name,))
        return found.fetchone() is not None

    def rename_database(self, name: str, new_name: str) -> None:
        """Rename a database that nobody needs to be connected to any more."""
        self._admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,)
        )
        self._admin.execute(f"alter database {name} rename to {new_name}")

    def drop_database(self, url: str) -> None:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        self._admin.execute(f"drop database if exists {name} with (force)")

    def environment(
        self, url: str | None = None, builder_url: str | None = None
    ) -> AbstractContextManager[None]:
        """Return a context in which the settings are those of this server."""
        return settings_of(self.home, self.version, url, builder_url)

    def stop(self) -> None:
        self._admin.close()
        with self.environment():
            embedded.stop()


@contextmanager
def settings_of(
    home: Path, version: int, url: str | None, builder_url: str | None = None
) -> Iterator[None]:
    """Set the warehouse's environment, for this process and those that it starts."""
    values = {
        "WAREHOUSE_HOME": str(home),
        "WAREHOUSE_POSTGRES_VERSION": str(version),
        "WAREHOUSE_DATABASE_URL": url,
        "WAREHOUSE_BUILDER_URL": builder_url,
        "WAREHOUSE_ANALYST_URL": None,
    }
    patch = pytest.MonkeyPatch()
    for name, value in values.items():
        if value is None:
            patch.delenv(name, raising=False)
        else:
            patch.setenv(name, value)
    settings.cache_clear()
    try:
        yield
    finally:
        patch.undo()
        settings.cache_clear()


@pytest.fixture(scope="session")
def servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[int], Server]]:
    """Give the session's server of a major version, 18 or 16, started when first asked for."""
    # A short path: a socket's has 107 bytes at most.
    home = Path(tempfile.mkdtemp(prefix="wh-"))
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    started: dict[int, Server] = {}

    def server(version: int = 18) -> Server:
        if version not in started:
            started[version] = Server(home, version, shared)
            started[version].spare_the_disk()
        return started[version]

    yield server
    for running in started.values():
        running.stop()
    shutil.rmtree(home)


# The command line, for tests that type it: `subprocess.run([*WAREHOUSE, "load", …])`.
WAREHOUSE = (sys.executable, "-m", "orchestration.cli")


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """Give each test the usual umask: commands that run in this process set another one."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def warehouse(
    servers: Callable[[int], Server], request: pytest.FixtureRequest
) -> Iterator[psycopg.Connection]:
    """Give a connection, in autocommit, to a fresh warehouse that the settings point to.

    Runs on PostgreSQL 18; parametrize it indirectly with ON_16 for the oldest server.
    """
    server = servers(getattr(request, "param", 18))
    url = server.new_database()
    with server.environment(url), psycopg.connect(url, autocommit=True) as connection:
        yield connection
    server.drop_database(url)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let processes that are started feel Ctrl-C and SIGTERM, even where this one was told not to.

    A process in the background ignores Ctrl-C, and Dagster then lets SIGTERM be ignored as well.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
