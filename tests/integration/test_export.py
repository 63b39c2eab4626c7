"""The export as a contract: what may change, what is kept of it, and what a reader can see."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import psycopg.sql
import pytest
from psycopg.types.json import Jsonb

from orchestration.operations.export import (
    ExportBlockedError,
    ExportTargetError,
    StatsRow,
    beyond_bounds,
    export_row,
)
from orchestration.operations.freshness import row_age
from tests.conftest import DEEP, Server
from tests.support.processes import held, kill, run, start, until
from warehouse import database
from warehouse.settings import settings

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
    warehouse.execute(f"alter table intermediate.int_platform_stats owner to {database.BUILDER}")
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
        (None, row(questions=10**9), {}, []),
        (row(), row(active=0), {}, []),
        (row(), row(questions=4999), {}, ["questions_answered fell from 5,000 to 4,999"]),
        (row(), row(questions=4990, pdfs=695), {"questions_answered": 10, "pdf_downloads": 5}, []),
        (row(), row(pdfs=699), {"questions_answered": 10}, ["pdf_downloads fell"]),
        (row(), row(questions=4989), {"questions_answered": 10}, ["questions_answered fell"]),
        (row(), row(questions=15_000), {}, []),
        (row(), row(questions=15_001), {}, ["questions_answered rose from 5,000 to 15,001, to more "
                                           "than 3 times that"]),
        # Ten times a small number is no jump.
        (row(active=100), row(active=1000), {}, []),
        (row(active=100), row(active=1101), {}, ["active_users rose from 100 to 1,101, by more "
                                                "than 1,000"]),
    ],
)  # fmt: skip
def test_figures_of_all_time_never_fall_and_none_grows_beyond_the_factor(
    last: StatsRow | None, now: StatsRow, erased: dict[str, int], beyond: list[str]
) -> None:
    sentences = beyond_bounds(now, last, 3, erased)
    assert len(sentences) == len(beyond)
    assert all(
        reported.startswith(words) for reported, words in zip(sentences, beyond, strict=True)
    )


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


def erased(connection: psycopg.Connection, batch_seq: int, **removed: int) -> None:
    """Leave the receipt of an erasure that took so many events out of these facts."""
    connection.execute(
        "insert into warehouse.erasures (kind, is_of_one_client, subject_hash, state, "
        "requested_by, batch_seq, removed) "
        "values ('user_id', false, '', 'verified', 'dpo', %s, %s)",
        (batch_seq, Jsonb({f"intermediate.{fact}": rows for fact, rows in removed.items()})),
    )


def built_up_to(connection: psycopg.Connection, batch_seq: int, **figures: int) -> None:
    connection.execute("update warehouse.model_offsets set batch_seq = %s", (batch_seq,))
    connection.execute("update warehouse.check_results set batch_seq = %s", (batch_seq,))
    set_figures(connection, **figures)


@pytest.fixture(params=["here", DEEP("elsewhere")])
def target(built: psycopg.Connection, request: pytest.FixtureRequest) -> psycopg.Connection:
    """The database that the row is exported to."""
    return request.getfixturevalue("elsewhere") if request.param == "elsewhere" else built


def test_a_drop_that_erasure_explains_passes_once(
    built: psycopg.Connection, target: psycopg.Connection
) -> None:
    export_row()
    erased(built, 4, int_chat_events=20)
    # It explains nothing of a row that has not read so far.
    set_figures(built, questions_answered=4980)
    with pytest.raises(ExportBlockedError, match="fell from 5,000 to 4,980"):
        export_row()
    set_figures(built, questions_answered=5001)
    export_row()
    built_up_to(built, 4, questions_answered=4981)
    export_row()
    assert exported(target)[0][4] == 4981
    built_up_to(built, 5, questions_answered=4980)
    with pytest.raises(ExportBlockedError, match="fell from 4,981 to 4,980"):
        export_row()


def test_an_erasure_explains_figures_of_what_it_took_alone(built: psycopg.Connection) -> None:
    export_row()
    erased(built, 4, int_pdf_download_events=5, int_page_view_events=20)
    built_up_to(built, 4, questions_answered=4999, pdf_downloads=695)
    with pytest.raises(ExportBlockedError, match=r": questions_answered fell [^;]* explains\. "):
        export_row()


def test_an_exporter_killed_before_the_history_leaves_nothing_that_explains_twice(
    built: psycopg.Connection, elsewhere: psycopg.Connection
) -> None:
    export_row()
    erased(built, 4, int_chat_events=20)
    built_up_to(built, 4, questions_answered=4980)
    with held(built, "before update on warehouse.exports for each row") as is_waiting:
        exporter = start("export")
        until(is_waiting)
        kill(exporter)
        # The server notices within a second.
        until(lambda: not is_waiting())
    assert history(built)[-1][:2] == ("running", 4980)
    assert exported(elsewhere)[0][4] == 4980
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


def test_the_age_of_the_row_is_that_of_the_one_where_it_goes_now(
    built: psycopg.Connection, elsewhere: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_row()
    assert row_age(built) is not None
    monkeypatch.delenv("WAREHOUSE_EXPORT_URL")
    settings.cache_clear()
    assert row_age(built) is None


def test_a_target_that_is_not_there_is_reported_without_its_password(
    built: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_EXPORT_URL", "postgresql://site:geheim@127.0.0.1:9/site")
    settings.cache_clear()
    with pytest.raises(ExportTargetError, match=r"127\.0\.0\.1:9/site") as reported:
        export_row()
    assert "WAREHOUSE_EXPORT_URL" in str(reported.value)
    refused = run("export")
    assert refused.code == 1
    assert "geheim" not in f"{reported.value} {refused.errors} {history(built)}"


@pytest.mark.parametrize(
    "url",
    [
        "postgres//site:geheim@127.0.0.1:9/site",
        "mysql://site:geheim@127.0.0.1:9/site",
        "postgresql:/site:geheim@127.0.0.1:9/site",
        "postgresql://site:pa%zzgeheim@127.0.0.1:9/site",
        "postgresql://site:ge geheim@127.0.0.1:9/site",
        "postgresql://site:geheim/mehr@127.0.0.1:9/site",
        "postgresql://site:geheim#/mehr@127.0.0.1:9/site",
        "postgresql://site:sehr@geheim@127.0.0.1:9/site",
        "postgresql://site:[geheim@127.0.0.1:9/site",
        "geheim",
    ],
)
def test_an_address_of_the_target_that_is_none_is_reported_without_quoting_it(
    built: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("WAREHOUSE_EXPORT_URL", url)
    settings.cache_clear()
    with pytest.raises(ExportTargetError, match="WAREHOUSE_EXPORT_URL ") as reported:
        export_row()
    # What logs show of it: neither its words nor its causes.
    assert "geheim" not in "".join(traceback.format_exception(reported.value))
    settings.cache_clear()


def test_what_fails_in_the_warehouse_is_not_blamed_on_the_target(
    built: psycopg.Connection, elsewhere: psycopg.Connection
) -> None:
    built.execute("alter table warehouse.exports add check (state <> 'running')")
    with pytest.raises(psycopg.errors.CheckViolation):
        export_row()


@pytest.mark.deep
def test_a_reader_sees_one_whole_row_through_200_exports_and_killed_exporters(
    built: psycopg.Connection, target: psycopg.Connection
) -> None:
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
