"""The export as a contract: what may change, what is kept of it, and what a reader can see."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import psycopg.sql
import pytest

from ingestion.settings import settings
from orchestration.export import (
    ExportBlockedError,
    ExportTargetError,
    StatsRow,
    beyond_bounds,
    export_row,
)
from tests.conftest import Server
from tests.processes import held, kill, run, start, until

AS_OF = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def built(warehouse: psycopg.Connection) -> psycopg.Connection:
    """A candidate of the row that was built and checked, as far as the export can see."""
    warehouse.execute("create schema if not exists intermediate")
    warehouse.execute(
        "create table intermediate.int_platform_stats as "
        "select 10::bigint as active_users, 5000::bigint as questions_answered, "
        "700::bigint as pdf_downloads, 0.5::numeric as engagement_rate, %s::timestamptz "
        "as updated_at",
        (AS_OF,),
    )
    warehouse.execute(
        "insert into warehouse.builds (invocation_id, batch_seq, as_of, full_refresh, state, "
        "started_at) values ('the build', 3, %s, false, 'done', now() - interval '1 minute')",
        (AS_OF,),
    )
    warehouse.execute(
        "insert into warehouse.model_offsets (model, batch_seq, as_of, checksum) "
        "values ('int_platform_stats', 3, %s, '')",
        (AS_OF,),
    )
    warehouse.execute(
        "insert into warehouse.check_results (check_name, source, model, severity, passed, "
        "batch_seq, as_of) values ('platform_stats.exactly_one_row', 'great_expectations', "
        "'intermediate.int_platform_stats', 'error', true, 3, %s)",
        (AS_OF,),
    )
    return warehouse


def set_figures(connection: psycopg.Connection, **figures: int) -> None:
    for name, value in figures.items():
        connection.execute(
            psycopg.sql.SQL("update intermediate.int_platform_stats set {} = %s").format(
                psycopg.sql.Identifier(name)
            ),
            (value,),
        )


def exported(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "select xmin::text, ctid::text, * from export.analytics_platform_stats"
    ).fetchall()


def history(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "select state, questions_answered, reason, accepted_by from warehouse.exports "
        "order by export_id"
    ).fetchall()


def row(active: int = 10, questions: int = 5000, pdfs: int = 700) -> StatsRow:
    return StatsRow(active, questions, pdfs, Decimal("0.5"), AS_OF)


@pytest.mark.parametrize(
    ("last", "now", "erased", "beyond"),
    [
        (None, row(questions=10**9), 0, []),
        (row(), row(active=0), 0, []),
        (row(), row(questions=4999), 0, ["questions_answered"]),
        (row(), row(questions=4990, pdfs=695), 10, []),
        (row(), row(questions=4989), 10, ["questions_answered"]),
        (row(), row(pdfs=699), 0, ["pdf_downloads"]),
        (row(), row(questions=15_000), 0, []),
        (row(), row(questions=15_001), 0, ["questions_answered"]),
        # Ten times a small number is no jump.
        (row(active=100), row(active=1000), 0, []),
        (row(active=100), row(active=1101), 0, ["active_users"]),
    ],
)
def test_figures_of_all_time_never_fall_and_none_grows_beyond_the_factor(
    last: StatsRow | None, now: StatsRow, erased: int, beyond: list[str]
) -> None:
    assert [sentence.split()[0] for sentence in beyond_bounds(now, last, 3, erased)] == beyond


def test_a_drop_is_refused_and_kept_in_the_history_until_somebody_accepts_it(
    built: psycopg.Connection,
) -> None:
    export_row()
    last_good = exported(built)
    set_figures(built, questions_answered=4000)
    with pytest.raises(ExportBlockedError, match="questions_answered fell from 5,000 to 4,000"):
        export_row()
    assert exported(built) == last_good
    refused = run("export", "--json")
    assert refused.code == 4
    assert "`warehouse export --accept`" in refused.errors
    accepted = run("export", "--accept", "--json")
    assert (accepted.code, accepted.answer["questions_answered"]) == (0, 4000)
    fell = "questions_answered fell from 5,000 to 4,000, by more than erasure explains"
    by = history(built)[-1][-1]
    assert by
    assert history(built) == [
        ("done", 5000, None, None),
        ("refused", 4000, fell, None),
        ("refused", 4000, fell, None),
        ("done", 4000, fell, by),
    ]


def test_a_drop_that_erasure_explains_passes_once(built: psycopg.Connection) -> None:
    export_row()
    load = built.execute(
        "insert into staging.loads (kind, source, head_digest, state) "
        "values ('events', 'a file', '', 'finished') returning load_id"
    ).fetchone()
    built.execute(
        "insert into staging.event_batches (batch_seq, batch_id, load_id, kind, source, chunk, "
        "start_offset, end_offset, lines_before, lines, digest, received, accepted, duplicates, "
        "suppressed, rejected, received_at, erased) "
        "values (1, 1, %s, 'events', 'a file', 0, 0, 1, 0, 20, '', 20, 20, 0, 0, 0, now(), 20)",
        load,
    )
    set_figures(built, questions_answered=4980)
    export_row()
    set_figures(built, questions_answered=4979)
    with pytest.raises(ExportBlockedError, match="fell from 4,980 to 4,979"):
        export_row()


def test_the_history_says_what_a_row_came_from(built: psycopg.Connection) -> None:
    export_row(run="the run")
    found = built.execute(
        "select e.target, e.run, e.build, e.batch_seq, e.checked_at = c.checked_at, e.updated_at, "
        "e.ended_at is not null from warehouse.exports as e cross join warehouse.check_results as c"
    ).fetchall()
    assert found == [("warehouse", "the run", "the build", 3, True, AS_OF, True)]


@pytest.fixture
def elsewhere(
    servers: Callable[[int], Server], monkeypatch: pytest.MonkeyPatch
) -> Iterator[psycopg.Connection]:
    """A database on another server, of an older version, that the row is exported to."""
    server = servers(16)
    url = server.new_database("template0")
    monkeypatch.setenv("WAREHOUSE_EXPORT_URL", url)
    settings.cache_clear()
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
    server.drop_database(url)


def test_the_row_goes_to_another_server_and_stays_there_when_it_is_refused(
    built: psycopg.Connection, elsewhere: psycopg.Connection
) -> None:
    export_row()
    assert exported(built) == []
    assert exported(elsewhere)[0][2:] == (1, 10, 5000, 700, Decimal("0.5000"), AS_OF)
    set_figures(built, questions_answered=5001)
    export_row()
    last_good = exported(elsewhere)
    assert last_good[0][4] == 5001
    set_figures(built, questions_answered=1)
    with pytest.raises(ExportBlockedError, match="fell from 5,001 to 1"):
        export_row()
    assert exported(elsewhere) == last_good
    assert [state for state, *_ in history(built)] == ["done", "done", "refused"]


def test_a_target_that_is_not_there_is_told_of_without_its_password(
    built: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_EXPORT_URL", "postgresql://site:geheim@127.0.0.1:9/site")
    settings.cache_clear()
    with pytest.raises(ExportTargetError, match=r"127\.0\.0\.1:9/site") as told:
        export_row()
    assert "WAREHOUSE_EXPORT_URL" in str(told.value)
    refused = run("export")
    assert refused.code == 1
    assert "geheim" not in f"{told.value} {refused.errors} {history(built)}"


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_reader_sees_one_whole_row_through_200_exports_and_killed_exporters(
    built: psycopg.Connection, where: str, request: pytest.FixtureRequest
) -> None:
    target = request.getfixturevalue("elsewhere") if where == "elsewhere" else built
    set_figures(built, active_users=5000, questions_answered=5000, pdf_downloads=5000)
    export_row()
    seen: list[list[tuple[int, int, int]]] = []
    done = threading.Event()

    def read() -> None:
        with psycopg.connect(
            target.info.dsn, password=target.info.password, autocommit=True
        ) as reader:
            while not done.is_set():
                seen.append(
                    reader.execute(
                        "select active_users, questions_answered, pdf_downloads "
                        "from export.analytics_platform_stats"
                    ).fetchall()
                )

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(5001, 5201):
            built.execute(
                "update intermediate.int_platform_stats set "
                "active_users = %(n)s, questions_answered = %(n)s, pdf_downloads = %(n)s",
                {"n": number},
            )
            if number % 50 == 0:
                last_good = exported(target)
                update = "before update on export.analytics_platform_stats for each row"
                with held(target, update) as is_waiting:
                    exporter = start("export")
                    until(is_waiting)
                    kill(exporter)
                assert exported(target) == last_good
            export_row()
    finally:
        done.set()
        thread.join()
    assert len(seen) > 200
    assert {len(rows) for rows in seen} == {1}
    assert all(len(set(figures)) == 1 for (figures,) in seen)
    assert exported(target)[0][3] == 5200
    assert [state for state, *_ in history(built)].count("done") == 201
