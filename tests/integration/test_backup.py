"""A backup is restored into an empty warehouse, which goes on as if nothing had happened."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from ingestion.privacy.suppression import Subject, SubjectKind
from orchestration.operations.backup import BackupError, back_up, restore
from orchestration.operations.erase import erase
from orchestration.operations.receipts import copy_of_receipts
from tests.conftest import Server
from tests.support.building import build_at, land, rows_of_models
from tests.support.lines import event, value
from tests.support.people import AS_OF, land_both_tenants, story_of
from warehouse import database, key_store
from warehouse.keys import KeyKind, KnownKeys
from warehouse.settings import settings

# What says when something was done.
TIMES = ("updated_at", "freshness_seconds", "last_check_at", "restated_at")


@pytest.fixture
def empty(servers: Callable[[int], Server]) -> Iterator[Callable[[], None]]:
    """Lets the settings point to a new database, as after the loss of the old one."""
    server = servers(18)
    with ExitStack() as stack:

        def lose_the_old_one() -> None:
            url = server.new_database("template0")
            stack.callback(server.drop_database, url)
            stack.enter_context(server.environment(url))

        yield lose_the_old_one


@pytest.fixture(autouse=True)
def no_receipts_of_other_tests(warehouse: psycopg.Connection) -> None:
    copy_of_receipts().unlink(missing_ok=True)


def models() -> dict[str, list[dict[str, object]]]:
    with database.connect() as connection:
        return {
            name: [{key: row[key] for key in row if key not in TIMES} for row in found]
            for name, found in rows_of_models(connection).items()
        }


@pytest.mark.deep
def test_a_restored_warehouse_goes_on_where_the_backup_was_made(
    warehouse: psycopg.Connection, empty: Callable[[], None], tmp_path: Path
) -> None:
    land_both_tenants(tmp_path)
    build_at(AS_OF)
    made = key_store.create(
        warehouse, settings().home, KeyKind.SERVER, client="acme", name="of a test"
    )
    file = tmp_path / "backup"
    backup = back_up(file)
    assert backup.batch_seq == value(warehouse, "select max(batch_seq) from staging.event_batches")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = models()

    empty()
    restored = restore(file)
    assert restored.batch_seq == backup.batch_seq
    assert models() == before
    keys = KnownKeys(settings().home)
    keys.refresh()
    assert keys.find(made.key) is not None

    # Nothing lands twice, and the next build is an increment.
    again = land(tmp_path, story_of("acme"))
    assert (again.accepted, again.duplicates) == (0, again.received)
    assert not build_at(AS_OF + timedelta(days=1)).ran_dbt
    with database.connect() as connection:
        assert value(connection, "select bool_or(full_refresh) from warehouse.builds") is False


@pytest.mark.deep
def test_who_was_erased_after_the_backup_is_erased_again(
    warehouse: psycopg.Connection, empty: Callable[[], None], tmp_path: Path
) -> None:
    land_both_tenants(tmp_path)
    build_at(AS_OF)
    file = tmp_path / "backup"
    back_up(file)
    users = "select count(*) from staging.users where user_id = 'u1 of acme'"
    assert value(warehouse, users) == 1
    erase(Subject(SubjectKind.USER, "u1 of acme"), by="a test")
    erase(Subject(SubjectKind.USER, "nobody at all"), by="a test")
    after = models()

    empty()
    restored = restore(file)
    assert (restored.erased_again, restored.suppressed, restored.not_applied) == (1, 1, 0)
    with database.connect() as connection:
        assert value(connection, users) == 0
        states = "select array_agg(state order by state) from warehouse.erasures"
        assert value(connection, states) == ["begun", "verified"]
    assert models() == after
    # Both are kept out for good.
    counts = land(tmp_path, [event(1, actor={"user_id": "nobody at all", "client_id": "acme"})])
    assert (counts.accepted, counts.suppressed) == (0, 1)


def test_a_backup_replaces_nothing(
    warehouse: psycopg.Connection, empty: Callable[[], None], tmp_path: Path
) -> None:
    land(tmp_path, [event(1)])
    file = tmp_path / "backup"
    back_up(file)
    with pytest.raises(BackupError, match="is there already"):
        back_up(file)
    with pytest.raises(BackupError, match="holds data"):
        restore(file)
    content = file.read_bytes()
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content[: len(content) // 2])
    empty()
    with pytest.raises(BackupError, match="pg_restore failed"):
        restore(damaged)
    # It is empty, and can be used.
    assert restore(file).batch_seq == 1
