"""Wherever an erasure fails, it says how far it came, and the same command brings it to its end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestion.load.loader import load
from ingestion.sources.files import open_source
from orchestration.operations import build as builds
from orchestration.operations import erase as erasing
from orchestration.operations import erased_files
from orchestration.operations.build import BuildError
from orchestration.operations.erase import EraseError, Receipt, erase
from tests.conftest import DEEP
from tests.support.building import land_entities, rows_of_models
from tests.support.erasing import ENTITIES, SUBJECTS, a_template, whole_file
from tests.support.lines import rows, value
from warehouse import database
from warehouse.errors import WarehouseError
from warehouse.settings import settings

SUBJECT = SUBJECTS["user"]
# What the message says of each state in which a receipt may be left.
SAID = {
    None: "No receipt was written: nothing has changed.",
    "begun": "at `begun`: no new data of the subject is loaded, but staging, facts and marts",
    "removed": "at `removed`: no new data of the subject is loaded, and its earlier data is",
    "verified": "is verified nevertheless",
}


@pytest.fixture(scope="module")
def smalls(servers, tmp_path_factory):
    yield from a_template(servers(18), tmp_path_factory.mktemp("landed"), ["revenue_events"])


@pytest.fixture(scope="module")
def landed(servers, tmp_path_factory) -> Iterator[Callable[[], AbstractContextManager]]:
    """Give copies of a warehouse with everything landed and nothing built: quick to erase from."""
    server, directory = servers(18), tmp_path_factory.mktemp("landed")
    url = server.new_database(name="landed")
    with server.environment(url):
        load(open_source(str(whole_file(directory))))
        for kind, entity_rows in ENTITIES.items():
            land_entities(directory, kind, entity_rows)

    @contextmanager
    def copied() -> Iterator[psycopg.Connection]:
        copy = server.new_database("landed", "landed_copy")
        with (
            pytest.MonkeyPatch.context() as patch,
            psycopg.connect(copy, autocommit=True) as connection,
        ):
            patch.setenv("WAREHOUSE_DATABASE_URL", copy)
            settings.cache_clear()
            yield connection
        settings.cache_clear()
        server.drop_database(copy)

    yield copied
    server.drop_database(url)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder with a file to delete in it; the server is elsewhere."""
    monkeypatch.setenv("WAREHOUSE_HOME", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    settings.cache_clear()


class Faults:
    """Counts the statements that an erasure sends, and fails at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = 0
        self.at: int | None = None
        self.fail: Callable[[psycopg.Connection], None] = lambda _: None
        send = psycopg.Cursor.execute

        def execute(cursor: psycopg.Cursor, *arguments: Any, **options: Any) -> psycopg.Cursor:
            name = cursor.connection.info.parameter_status("application_name")
            if name in ("warehouse erase", "warehouse build") and self.at is not None:
                self.sent += 1
                if self.sent == self.at:
                    self.fail(cursor.connection)
            return send(cursor, *arguments, **options)

        monkeypatch.setattr(psycopg.Cursor, "execute", execute)

    def __call__(self, at: int, fail: Callable[[psycopg.Connection], None]) -> None:
        self.sent, self.at, self.fail = 0, at, fail


def refused(_: psycopg.Connection) -> None:
    raise psycopg.errors.DiskFull("could not extend file: No space left on device")


def interrupted(_: psycopg.Connection) -> None:
    raise KeyboardInterrupt


def terminated(connection: psycopg.Connection) -> None:
    """End the server's side of the connection, as an administrator or a crash does."""
    with psycopg.connect(database.url(), autocommit=True) as administrator:
        pid = connection.info.backend_pid
        administrator.execute("select pg_terminate_backend(%s, 10000)", (pid,))


def state_of(connection: psycopg.Connection) -> str | None:
    found = rows(connection, "select state from warehouse.erasures")
    return found[0][0] if found else None


def outcome(receipt: Receipt) -> tuple[object, ...]:
    return receipt.state, receipt.removed, receipt.changed, receipt.found, receipt.files_removed


def drop_a_file(home: Path) -> None:
    path = home / "drop" / "done" / "events" / "1.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"by": "user-ann"}\n')


FAILURES = (refused, terminated, interrupted)


@pytest.mark.parametrize(("failures", "step"), [(FAILURES, 2), DEEP(FAILURES[::-1], 1)])
def test_an_erasure_that_fails_at_any_statement_says_so_and_is_finished_by_the_same_command(
    landed,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    failures: Sequence[Callable[[psycopg.Connection], None]],
    step: int,
) -> None:
    assert fail_everywhere(landed, home, Faults(monkeypatch), failures, step) > 20


@pytest.mark.deep
def test_so_is_one_that_builds(smalls, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fail_everywhere(smalls, home, Faults(monkeypatch), FAILURES, step=2) > 30


def fail_everywhere(
    copies: Callable[[], AbstractContextManager[psycopg.Connection]],
    home: Path,
    faults: Faults,
    failures: Sequence[Callable[[psycopg.Connection], None]],
    step: int = 1,
) -> int:
    """Erase from a copy for each statement, failing at it in one way; return how many there are.

    Less those that ``step`` passes over.
    """
    with copies() as connection:
        drop_a_file(home)
        faults(0, refused)
        whole = outcome(erase(SUBJECT, "dpo"))
        statements, faults.at = faults.sent, None
        marts = rows_of_models(connection)
    states = set()
    # Most statements of a removal are the database's own, in one of its functions: one transaction.
    for number in range(1, statements + 1, step):
        with copies() as connection:
            drop_a_file(home)
            faults(number, failures[number % len(failures)])
            with pytest.raises(WarehouseError) as raised:
                erase(SUBJECT, "dpo")
            faults.at = None
            state = state_of(connection)
            states.add(state)
            assert SAID[state] in str(raised.value), (number, str(raised.value))
            assert state == "verified" or "same command again" in str(raised.value)
            assert "user-ann" not in str(raised.value)
            again = erase(SUBJECT, "dpo")
            if state != "verified":
                assert outcome(again) == whole, number
                assert value(connection, "select count(*) from warehouse.erasures") == 1
            assert again.state == "verified"
            assert value(connection, "select count(*) from warehouse.erased_rows") == 0
            assert rows_of_models(connection) == marts, number
    assert states == {None, "begun", "removed", "verified"}
    return statements


def test_a_database_that_is_gone_is_no_reason_to_say_what_is_not_known(
    smalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    with smalls() as connection:

        def gone(*_: object) -> None:
            monkeypatch.setattr(erasing, "_connect", unreachable)
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        def unreachable() -> None:
            raise database.DatabaseError("The database can't be used.")

        monkeypatch.setattr(erasing, "_search", gone)
        with pytest.raises(EraseError, match=r"The receipt can't be read now.*same command"):
            erase(SUBJECT, "dpo")
        monkeypatch.undo()
        assert state_of(connection) == "begun"
        assert erase(SUBJECT, "dpo").state == "verified"


def test_a_failed_build_or_check_says_what_the_receipt_is_at(
    smalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    with smalls() as connection:
        # A check fails of what is built: the search is made all the same.
        def failing_check(*arguments: object) -> None:
            builds.build_under_lock(*arguments)
            raise BuildError("The build failed in a_check.")

        with monkeypatch.context() as patch:
            patch.setattr(erasing, "build_under_lock", failing_check)
            with pytest.raises(BuildError, match=r"a_check.*is verified nevertheless"):
                erase(SUBJECT, "dpo")
        assert state_of(connection) == "verified"
    with smalls() as connection:
        change = "{} delete on marts.revenue_events {} warehouse_transformer"
        connection.execute(change.format("revoke", "from"))
        with pytest.raises(BuildError, match=re.escape("at `removed`")):
            erase(SUBJECT, "dpo")
        connection.execute(change.format("grant", "to"))
        assert erase(SUBJECT, "dpo").state == "verified"


def test_a_file_that_cant_be_deleted_keeps_the_receipt_from_being_verified(
    smalls, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with smalls() as connection:
        drop_a_file(home)

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", "user-ann.ndjson")

        with monkeypatch.context() as patch:
            patch.setattr(erased_files.Path, "unlink", refuse)
            with pytest.raises(EraseError, match=r"Permission denied.*at `removed`") as raised:
                erase(SUBJECT, "dpo")
        assert "user-ann" not in str(raised.value)
        assert state_of(connection) == "removed"
        receipt = erase(SUBJECT, "dpo")
        assert (receipt.state, receipt.files_removed) == ("verified", {"drop/done": 1})
