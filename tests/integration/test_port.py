"""The port by which BI tools reach the embedded server: who may use it, and for how long."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from orchestration.serve import postgres_port
from orchestration.serve.processes import ServeError, port_for_tools, serve
from tests.conftest import settings_of
from tests.support.webhook import free_port
from warehouse import database, embedded
from warehouse.embedded import EmbeddedServerError
from warehouse.schema.migrate import migrate
from warehouse.settings import SettingError, settings


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """An embedded server of its own, with the roles of a warehouse; nothing is built."""
    home = Path(tempfile.mkdtemp(prefix="wh-"))
    with settings_of(home, 18, None):
        migrate()
        try:
            yield home
        finally:
            embedded.stop()
            shutil.rmtree(home)


@pytest.fixture
def port(home: Path) -> int:
    """A port that is open."""
    number = free_port()
    postgres_port.open_port(number)
    return number


def sign_in(port: int, user: str, password: str, dbname: str = "warehouse") -> str:
    """Sign in by the port; return as whom."""
    with psycopg.connect(
        host="127.0.0.1", port=port, user=user, password=password, dbname=dbname
    ) as connection:
        (name,) = connection.execute("select current_user::text").fetchone()
        return name


def password() -> str:
    return settings().reader_password_file.read_text().strip()


def test_a_tool_signs_in_with_the_password_in_the_file(port: int, home: Path) -> None:
    assert sign_in(port, "warehouse_reader", password()) == "warehouse_reader"
    assert settings().reader_password_file.stat().st_mode & 0o777 == 0o600
    assert len(password()) > 30
    for wrong in ("", "wrong", password().lower()):
        with pytest.raises(psycopg.OperationalError, match="password"):
            sign_in(port, "warehouse_reader", wrong)


def test_nobody_else_signs_in_by_the_port(port: int) -> None:
    with database.connect(autocommit=True) as owner:
        owner.execute("create role somebody login superuser password 'p'")
        owner.execute("alter role postgres password 'p'")
        owner.execute("create role ann login password 'p' in role warehouse_analyst")
    try:
        # Ann may because of her group; whoever is superuser may not because of that.
        assert sign_in(port, "ann", "p") == "ann"
        for user in ("postgres", "somebody"):
            with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
                sign_in(port, user, "p")
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            sign_in(port, "ann", "p", dbname="postgres")
        # The builders' login has no password.
        with pytest.raises(psycopg.OperationalError, match="password"):
            sign_in(port, embedded.BUILDER_LOGIN, "")
    finally:
        with database.connect(autocommit=True) as owner:
            owner.execute("drop role somebody; drop role ann; alter role postgres password null")


def test_the_socket_leads_to_the_server_whatever_the_port(port: int) -> None:
    with database.connect() as owner:
        assert owner.execute("select inet_server_addr()").fetchone() == (None,)
    again = free_port()
    postgres_port.open_port(again)
    assert sign_in(again, "warehouse_reader", password())
    with pytest.raises(psycopg.OperationalError, match="refused"):
        sign_in(port, "warehouse_reader", password())
    with database.connect() as owner:
        assert owner.execute("show port").fetchone() == (str(again),)


def test_a_port_that_is_open_is_opened_again_without_a_restart(port: int) -> None:
    with database.connect() as owner:
        postgres_port.open_port(port)
        assert owner.execute("select 1").fetchone() == (1,)


def test_a_closed_port_ends_sessions_and_lets_nobody_in(port: int) -> None:
    with psycopg.connect(
        host="127.0.0.1", port=port, user="warehouse_reader", password=password(),
        dbname="warehouse",
    ) as tool:  # fmt: skip
        tool.autocommit = True
        embedded.close_port()
        with pytest.raises(psycopg.OperationalError):
            tool.execute("select 1")
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        sign_in(port, "warehouse_reader", password())
    embedded.stop()
    # The next start is on the socket alone.
    database.connect().close()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        sign_in(port, "warehouse_reader", password())


def test_serve_keeps_the_port_open_as_long_as_it_runs_and_says_how_to_connect(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = free_port()
    with port_for_tools(number):
        assert sign_in(number, "warehouse_reader", password())
        said = capsys.readouterr().err
        assert f"127.0.0.1:{number}, database warehouse, user warehouse_reader" in said
        assert password() not in said
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        sign_in(number, "warehouse_reader", password())
    # One that was killed left it open: the next without a port closes it.
    postgres_port.open_port(number)
    with port_for_tools(None), pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf"):
        sign_in(number, "warehouse_reader", password())


def test_a_port_that_is_taken_leaves_the_server_as_it_is(home: Path) -> None:
    with socket.socket() as taken, database.connect() as owner:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EmbeddedServerError, match="Choose another"):
            postgres_port.open_port(taken.getsockname()[1])
        assert owner.execute("select 1").fetchone() == (1,)


def test_a_password_of_ones_own_is_read_from_its_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    monkeypatch.setenv("WAREHOUSE_POSTGRES_PASSWORD_FILE", str(file))
    settings.cache_clear()
    number = free_port()
    with pytest.raises(SettingError, match="POSTGRES_PASSWORD_FILE can't be read"):
        postgres_port.open_port(number)
    file.write_text("\n")
    with pytest.raises(SettingError, match="is empty"):
        postgres_port.open_port(number)
    file.write_text("sésame, öffne dich\n", "utf-8")
    said = postgres_port.open_port(number)
    assert sign_in(number, "warehouse_reader", "sésame, öffne dich")
    assert "sésame" not in said
    with database.connect() as owner:
        kept = "select rolpassword from pg_authid where rolname = 'warehouse_reader'"
        assert owner.execute(kept).fetchone()[0].startswith("SCRAM-SHA-256$")
    monkeypatch.undo()
    settings.cache_clear()


def test_a_server_of_ones_own_has_a_port_already(warehouse: psycopg.Connection) -> None:
    with pytest.raises(ServeError, match="WAREHOUSE_DATABASE_URL"):
        serve("127.0.0.1", 3000, 3001, 8000, 8001, 5433)
