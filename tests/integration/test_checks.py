"""The checks on a database: what is sound passes, and each fault turns its own check red."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import psycopg
import pytest
from playwright.sync_api import expect

from expectations.checks import (
    ROWS,
    CheckError,
    CheckResult,
    docs_page,
    forget_old_results,
    run_checks,
)
from ingestion.load.loader import load
from ingestion.sources.files import open_source
from tests.conftest import ON_16
from tests.support.browser import a_browser
from tests.support.lines import rows
from warehouse.settings import settings

# What the checks must never carry on: one in the name of an event, one as an address.
PLANTED = ("alice.planted@example.com", "203.0.113.77")

FAULTS: dict[str, Sequence[str]] = {
    "raw_events.columns_as_expected": ["alter table staging.raw_events add column note text"],
    "raw_events.required_columns_filled": [
        "alter table staging.raw_events alter column is_bot drop not null",
        "update staging.raw_events set is_bot = null where properties ->> 'message_id' = 'm1'",
    ],
    "raw_events.event_in_plan": [
        "update staging.raw_events set event = 'alice.planted@example.com' "
        "where properties ->> 'message_id' = 'm1'"
    ],
    "raw_events.client_id_length": [
        "update staging.raw_events set client_id = repeat('x', 129), "
        "actor = jsonb_build_object('client_id', repeat('x', 129)) "
        "where properties ->> 'message_id' = 'm1'"
    ],
    "raw_events.client_id_is_the_actors": [
        "update staging.raw_events set client_id = 'another' "
        "where properties ->> 'message_id' = 'm1'"
    ],
    "raw_events.no_ip_in_context": [
        'update staging.raw_events set context = \'{"ip": "203.0.113.77"}\' '
        "where properties ->> 'message_id' = 'm1'"
    ],
    "raw_events.timestamp_not_before_2000": [
        "create table staging.raw_events_1999_12 partition of staging.raw_events "
        "for values from ('1999-12-01T00:00:00Z') to ('2000-01-01T00:00:00Z')",
        "update staging.raw_events set timestamp = '1999-12-31T23:59:59.999999Z' "
        "where properties ->> 'message_id' = 'm1'",
    ],
    "raw_events.visitor_hash_length": [
        r"update staging.raw_events set visitor_hash = '\x0102' "
        "where properties ->> 'message_id' = 'm1'"
    ],
    "raw_events.properties_are_objects": [
        "update staging.raw_events set properties = '[]' where properties ->> 'message_id' = 'm1'"
    ],
    "event_batches.outcomes_add_up": [
        "alter table staging.event_batches drop constraint every_line_has_one_outcome",
        "update staging.event_batches set received = received + 1 where batch_seq = 1",
    ],
    "event_batches.counts_not_negative": [
        "alter table staging.event_batches drop constraint counts_are_not_negative",
        "update staging.event_batches set rejected = -1, received = received - 1 "
        "where batch_seq = 1",
    ],
    "event_batches.batch_seq_unique": [
        "alter table staging.event_batches drop constraint event_batches_pkey",
        "create temp table twin as select * from staging.event_batches where batch_seq = 1",
        "update twin set batch_id = 999, load_id = 999, kind = 'units'",
        "insert into staging.event_batches select * from twin",
    ],
    "event_batches.batch_seq_gapless": [
        "update staging.event_batches set batch_seq = 3 where batch_seq = 2"
    ],
    "event_batches.committed_at_filled": [
        "alter table staging.event_batches alter column committed_at drop not null",
        "update staging.event_batches set committed_at = null where batch_seq = 1",
    ],
    "event_batches.accepted_rows_landed": [
        "delete from staging.raw_events where properties ->> 'message_id' = 'm1'"
    ],
    "platform_stats.exactly_one_row": ["delete from intermediate.int_platform_stats"],
    "platform_stats.counts_not_negative": [
        "update intermediate.int_platform_stats set active_users = -1"
    ],
    "platform_stats.engagement_rate_not_negative": [
        "update intermediate.int_platform_stats set engagement_rate = -0.0001"
    ],
    "platform_stats.updated_at_not_ahead": [
        "update intermediate.int_platform_stats set updated_at = now() + interval '2 days'"
    ],
}
# These are on the table as a whole: their query shows all that they looked at.
OF_TABLE = ("raw_events.columns_as_expected", "platform_stats.exactly_one_row")
# These warn; their faults are in tests of their own.
WATCHED = {
    "landed_volume.like_previous_weeks",
    "staging_columns.columns_as_migrated",
    "platform_stats.no_figure_fell_to_zero",
}


@pytest.fixture
def landed(warehouse: psycopg.Connection, tmp_path: Path) -> psycopg.Connection:
    """Two batches, and a marketing row that was built and exported."""
    land(tmp_path / "first.ndjson", [1, 2, 3])
    land(tmp_path / "second.ndjson", [4, 5])
    warehouse.execute("create schema if not exists intermediate")
    warehouse.execute(
        "create table intermediate.int_platform_stats as select 3::bigint as active_users, "
        "5::bigint as questions_answered, 7::bigint as pdf_downloads, "
        "0.5::numeric as engagement_rate, now() as updated_at"
    )
    warehouse.execute(
        "insert into warehouse.model_offsets (model, batch_seq, as_of, checksum) "
        "values ('int_platform_stats', 1, '2026-03-01T00:00:00Z', '')"
    )
    warehouse.execute(
        "insert into export.analytics_platform_stats "
        "select 1, s.* from intermediate.int_platform_stats as s"
    )
    return warehouse


def land(file: Path, numbers: Sequence[int]) -> None:
    file.write_text(
        "".join(
            json.dumps(
                {
                    "event_id": f"00000000-0000-4000-8000-{number:012}",
                    "event": "chat",
                    "timestamp": f"2026-02-{number:02}T12:00:00Z",
                    "actor": {"client_id": "acme", "user_id": "u1"},
                    "context": {"ip": "192.0.2.1", "user_agent": "test", "source": "api"},
                    "properties": {"message_id": f"m{number}"},
                }
            )
            + "\n"
            for number in numbers
        )
    )
    load(open_source(str(file)))


def red(results: Sequence[CheckResult]) -> set[str]:
    return {result.check_name for result in results if not result.passed}


@pytest.mark.parametrize("warehouse", [18, ON_16], indirect=True)
def test_sound_data_pass_every_check_and_one_result_is_recorded_for_each(
    landed: psycopg.Connection,
) -> None:
    results = run_checks()
    assert red(results) == set()
    assert {result.check_name for result in results} == FAULTS.keys() | WATCHED
    recorded = landed.execute(
        "select check_name, model, severity, passed, failures, detail "
        "from warehouse.check_results where source = 'great_expectations'"
    ).fetchall()
    assert sorted(recorded) == sorted(
        (r.check_name, r.model, r.severity, r.passed, r.failures, r.detail) for r in results
    )
    assert landed.execute(
        "select model, batch_seq, as_of = '2026-03-01T00:00:00Z', count(distinct checked_at) "
        "from warehouse.check_results group by 1, 2, 3 order by 1"
    ).fetchall() == [
        ("intermediate.int_platform_stats", 1, True, 1),
        ("staging.event_batches", 2, None, 1),
        ("staging.raw_events", 2, None, 1),
    ]


@pytest.mark.parametrize("check", FAULTS)
def test_a_fault_turns_its_own_check_red_and_no_other(
    landed: psycopg.Connection, check: str
) -> None:
    for statement in FAULTS[check]:
        landed.execute(statement)
    results = run_checks()
    assert red(results) == {check}
    (result,) = [result for result in results if not result.passed]
    assert (result.severity, result.failures) == ("error", 2 if "unique" in check else 1)
    if check not in OF_TABLE:
        assert len(landed.execute(result.query).fetchall()) == result.failures
    assert landed.execute(
        "select check_name, severity, failures from warehouse.check_results where not passed"
    ).fetchall() == [(check, "error", result.failures)]


@pytest.mark.parametrize(
    ("yesterday", "weeks", "passed"),
    [
        (1000, 4, True),
        (500, 4, True),
        (499, 4, False),
        (2000, 4, True),
        (2001, 4, False),
        (0, 8, False),
        # Too little is known yet.
        (0, 3, True),
    ],
)
def test_a_day_that_landed_far_less_or_more_than_the_same_weekday_before_is_warned_of(
    warehouse: psycopg.Connection, yesterday: int, weeks: int, passed: bool
) -> None:
    (load_id,) = warehouse.execute(
        "insert into staging.loads (kind, source, head_digest, state) "
        "values ('events', 'a file', '', 'finished') returning load_id"
    ).fetchone()
    warehouse.execute(
        "insert into staging.event_batches (batch_seq, batch_id, load_id, kind, source, chunk, "
        "start_offset, end_offset, lines_before, lines, digest, received, accepted, duplicates, "
        "suppressed, rejected, received_at) "
        "select week + 1, week + 1, %s, 'events', 'a file', week, 0, 1, 0, landed, '', landed, "
        "landed, 0, 0, 0, date_trunc('day', now(), 'utc') - make_interval(days => 7 * week, "
        "hours => 1) from (select week, case week when 0 then %s else 1000 end as landed "
        "from generate_series(0, %s) as weeks (week)) as weeks",
        (load_id, yesterday, weeks),
    )
    # The warehouse's own events, many more of them, change nothing.
    warehouse.execute(
        "insert into staging.event_batches (batch_seq, batch_id, load_id, kind, source, chunk, "
        "start_offset, end_offset, lines_before, lines, digest, received, accepted, duplicates, "
        "suppressed, rejected, received_at) "
        "select 100 + batch_seq, 100 + batch_id, load_id, kind, 'warehouse', 100 + chunk, "
        "start_offset, end_offset, lines_before, 16000, digest, 16000, 16000, 0, 0, 0, received_at "
        "from staging.event_batches where batch_seq < 4"
    )
    (result,) = run_checks(suites=["landed_volume"])
    assert (result.passed, result.severity) == (passed, "warn")
    assert len(warehouse.execute(result.query).fetchall()) == (not passed)


@pytest.mark.parametrize(
    "drift",
    [
        "alter table staging.users add column email text",
        "alter table staging.units drop column development_id cascade",
        "alter table staging.documents alter column title type varchar(10)",
        "create table staging.leftover (id bigint)",
    ],
)
def test_staging_that_is_not_as_migrations_made_it_is_warned_of(
    warehouse: psycopg.Connection, drift: str
) -> None:
    warehouse.execute(drift)
    (result,) = run_checks(suites=["staging_columns"])
    assert (result.passed, result.severity) == (False, "warn")


@pytest.mark.parametrize(("days_ago", "passed"), [(1, False), (8, True)])
def test_a_figure_of_the_row_that_falls_to_zero_is_warned_of(
    landed: psycopg.Connection, days_ago: int, passed: bool
) -> None:
    landed.execute(
        "insert into warehouse.exports (target, state, build, batch_seq, checked_at, active_users, "
        "questions_answered, pdf_downloads, engagement_rate, updated_at, ended_at) values "
        "('warehouse', 'done', 'b', 1, now(), 3, 5, 7, 0.5, now(), "
        "now() - make_interval(days => %s))",
        (days_ago,),
    )
    landed.execute("update intermediate.int_platform_stats set active_users = 0")
    found = {result.check_name: result for result in run_checks(suites=["platform_stats"])}
    result = found["platform_stats.no_figure_fell_to_zero"]
    assert (result.passed, result.severity) == (passed, "warn")


def test_a_row_that_the_ledger_does_not_know_of_is_found(landed: psycopg.Connection) -> None:
    landed.execute(
        "insert into staging.raw_events (event_id, timestamp, batch_id, is_bot, client_id, event, "
        "actor) select gen_random_uuid(), timestamp, batch_id, false, client_id, 'no_such_event', "
        "actor from staging.raw_events where properties ->> 'message_id' = 'm1'"
    )
    assert red(run_checks()) == {
        "raw_events.event_in_plan",
        "event_batches.accepted_rows_landed",
    }


def test_a_check_that_a_missing_column_stops_is_red_and_says_so(
    landed: psycopg.Connection,
) -> None:
    landed.execute("alter table staging.raw_events drop column visitor_hash")
    results = {result.check_name: result for result in run_checks(suites=["raw_events"])}
    assert red(list(results.values())) == {
        "raw_events.columns_as_expected",
        "raw_events.visitor_hash_length",
    }
    stopped = results["raw_events.visitor_hash_length"]
    assert stopped.failures is None
    assert "could not be evaluated" in stopped.detail
    assert "visitor_hash" in stopped.detail


def test_a_failed_window_is_looked_at_until_it_passes_and_then_no_more(
    landed: psycopg.Connection, tmp_path: Path
) -> None:
    spoil = (
        "update staging.raw_events set properties = '[]' where properties ->> 'message_id' = 'm1'"
    )
    fix = "update staging.raw_events set properties = null where properties = '[]'"
    landed.execute(spoil)
    assert red(run_checks()) == {"raw_events.properties_are_objects"}
    land(tmp_path / "third.ndjson", [6])
    assert red(run_checks()) == {"raw_events.properties_are_objects"}
    landed.execute(fix)
    assert red(run_checks()) == set()
    landed.execute("update staging.raw_events set properties = '[]'")
    land(tmp_path / "fourth.ndjson", [7])
    assert red(run_checks()) == set(), "only the new batch was looked at"


def test_suites_have_windows_of_their_own(landed: psycopg.Connection) -> None:
    landed.execute(
        "update staging.raw_events set properties = '[]' where properties ->> 'message_id' = 'm1'"
    )
    run_checks()
    landed.execute("update staging.event_batches set batch_seq = 0 where batch_seq = 1")
    assert red(run_checks()) == set(), "batch 1 is gone from the one, passed for the other"


def test_a_check_that_joins_a_suite_looks_at_all_that_has_landed(
    landed: psycopg.Connection,
) -> None:
    run_checks()
    landed.execute(
        "delete from warehouse.check_results where check_name = 'raw_events.no_ip_in_context'"
    )
    landed.execute(FAULTS["raw_events.no_ip_in_context"][0])
    assert red(run_checks()) == {"raw_events.no_ip_in_context"}


@pytest.mark.parametrize("runs", [1, 2])
def test_an_empty_window_passes_and_is_recorded(warehouse: psycopg.Connection, runs: int) -> None:
    for _ in range(runs):
        assert red(run_checks(suites=["raw_events", "event_batches"])) == set()
    assert warehouse.execute(
        "select bool_and(passed), max(batch_seq), count(distinct checked_at) "
        "from warehouse.check_results"
    ).fetchone() == (True, 0, runs)


def test_after_a_pass_the_window_is_empty_and_stands_for_the_newest_batch(
    landed: psycopg.Connection,
) -> None:
    run_checks()
    results = run_checks(suites=["raw_events"])
    assert red(results) == set()
    assert any("0 of 0" in result.detail for result in results)
    assert landed.execute(
        "select array_agg(distinct batch_seq) from warehouse.check_results "
        "where model = 'staging.raw_events'"
    ).fetchone() == ([2],)


def test_fewer_rows_and_counts_are_right_after_an_erasure(landed: psycopg.Connection) -> None:
    for statement in (
        "delete from staging.raw_events where properties ->> 'message_id' = 'm1'",
        "update intermediate.int_platform_stats set questions_answered = questions_answered - 1",
        "create temp table erasure as select * from staging.event_batches where batch_seq = 2",
        "update erasure set batch_seq = 3, batch_id = 999, load_id = 999, kind = 'erasure', "
        "committed_at = clock_timestamp()",
        "insert into staging.event_batches select * from erasure",
    ):
        landed.execute(statement)
    assert red(run_checks()) == set()


def test_a_month_that_retention_dropped_is_not_missed(landed: psycopg.Connection) -> None:
    landed.execute("drop table staging.raw_events_2026_02")
    assert red(run_checks()) == set()


def test_without_a_candidate_it_says_what_to_do_and_records_nothing(
    warehouse: psycopg.Connection,
) -> None:
    with pytest.raises(CheckError, match="Run `warehouse build` first"):
        run_checks()
    assert warehouse.execute("select count(*) from warehouse.check_results").fetchone() == (0,)


def test_old_results_are_forgotten_but_for_the_latest_of_each_check(
    warehouse: psycopg.Connection,
) -> None:
    warehouse.cursor().executemany(
        "insert into warehouse.check_results (check_name, checked_at, source, severity, passed, "
        "batch_seq) values (%s, now() - make_interval(days => %s), 'dbt', 'error', %s, 0)",
        [("runs", 91, False), ("runs", 89, True), ("gone", 200, True), ("gone", 100, False)],
    )
    assert forget_old_results(warehouse) == 2
    assert rows(
        warehouse, "select check_name, passed from warehouse.check_results order by check_name"
    ) == [("gone", False), ("runs", True)]


def test_nothing_is_printed(landed: psycopg.Connection, capfd: pytest.CaptureFixture[str]) -> None:
    landed.execute("alter table staging.raw_events drop column visitor_hash")
    run_checks(docs=True)
    assert capfd.readouterr() == ("", "")


def test_an_unknown_suite_is_refused(warehouse: psycopg.Connection) -> None:
    with pytest.raises(CheckError, match=r"No such suite: raw_event\."):
        run_checks(suites=["raw_event"])


def test_data_docs_show_suites_and_results_and_hold_no_value_of_a_row(
    landed: psycopg.Connection,
) -> None:
    for check in ("raw_events.event_in_plan", "raw_events.no_ip_in_context"):
        for statement in FAULTS[check]:
            landed.execute(statement)
    for _ in range(2):
        results = run_checks(docs=True)
    assert red(results) == {"raw_events.event_in_plan", "raw_events.no_ip_in_context"}

    site = docs_page().parent
    pages = {path.relative_to(site): path for path in site.rglob("*.html")}
    assert docs_page() in pages.values()
    for suite in ("raw_events", "event_batches", "platform_stats"):
        assert Path("expectations") / f"{suite}.html" in pages
        assert len([page for page in pages if page.parts[:2] == ("validations", suite)]) == 1
    assert any("No context contains an ip." in path.read_text() for path in pages.values())

    files = b"".join(path.read_bytes() for path in site.rglob("*") if path.is_file())
    recorded = str(landed.execute("select * from warehouse.check_results").fetchall())
    for value in PLANTED:
        assert value.encode() not in files
        assert value not in recorded
        assert value not in repr(results)


def test_a_site_replaces_the_last_one_of_the_same_suites(landed: psycopg.Connection) -> None:
    shutil.rmtree(settings().docs)
    for _ in range(2):
        run_checks(docs=True, suites=["platform_stats"])
        (docs_page("platform_stats").parent / "stale.html").write_text("")
    run_checks(docs=True, suites=["platform_stats", "event_batches"])
    run_checks(docs=True, suites=["platform_stats"])
    names = {path.name for path in docs_page("platform_stats").parent.rglob("*.html")}
    assert "stale.html" not in names
    assert "event_batches.html" not in names
    assert "platform_stats.html" in names
    folders = {path.name for path in settings().docs.glob("*/*") if path.is_dir()}
    assert folders == {"platform_stats", "platform_stats-event_batches"}
    assert [path.name for path in settings().docs.iterdir()] == ["checks"]


ADDRESS = re.compile(r"""(?:href|src)=["']([^"'#]+)|url\(["']?([^"')]+)""")


def test_data_docs_load_nothing_from_elsewhere_and_their_links_lead_somewhere(
    landed: psycopg.Connection,
) -> None:
    run_checks(docs=True)
    for page in [*settings().data_docs.rglob("*.html"), *settings().data_docs.rglob("*.css")]:
        for link, style in ADDRESS.findall(page.read_text("utf-8")):
            address = unquote(link or style)
            assert not re.match(r"(\w+:)?//", address), (page, address)
            if link:
                assert (page.parent / address).exists(), (page, address)


def test_the_home_of_data_docs_names_the_latest_run_of_each_suite(
    landed: psycopg.Connection,
) -> None:
    shutil.rmtree(settings().docs, ignore_errors=True)
    run_checks(docs=True)
    for statement in FAULTS["raw_events.event_in_plan"]:
        landed.execute(statement)
    landed.execute("delete from warehouse.check_results")
    run_checks(docs=True, suites=["raw_events"])
    home = (settings().data_docs / "index.html").read_text("utf-8")
    found = [
        tuple(re.sub("<[^>]*>", "", cell) for cell in re.findall("<td.*?</td>", row))
        for row in re.findall("<tr>(.*?)</tr>", home, re.DOTALL)
    ]
    runs = {suite: (name, *rest[:4]) for name, suite, *rest in filter(None, found)}
    assert runs["raw_events"] == ("batches 1 to 2", "staging.raw_events", "failed", "9", "1")
    assert runs["event_batches"] == ("batches 1 to 2", "staging.event_batches", "passed", "6", "0")
    assert runs["platform_stats"][0] == "row of batch 1"
    assert runs.keys() == set(ROWS)
    # What failed comes first.
    assert next(iter(runs)) == "raw_events"
    assert "raw_events/validations/" in home
    assert "all/validations/event_batches/" in home


@pytest.mark.deep
def test_data_docs_open_and_filter_in_a_browser(landed: psycopg.Connection) -> None:
    for statement in FAULTS["raw_events.event_in_plan"]:
        landed.execute(statement)
    run_checks(docs=True)
    asked: list[str] = []
    with a_browser() as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((settings().data_docs / "index.html").as_uri())
        page.get_by_role("row", name="raw_events").get_by_role("link").first.click()
        passed = page.get_by_text("No context contains an ip.")
        expect(passed).to_be_visible()
        page.get_by_text("Failed Only").click()
        expect(passed).not_to_be_visible()
        expect(page.get_by_text("Every event name is in the tracking plan.")).to_be_visible()
        page.get_by_text("Show All").click()
        expect(passed).to_be_visible()
        info = page.get_by_text("Great Expectations Version")
        expect(info).not_to_be_visible()
        page.get_by_text("Show more info").click()
        expect(info).to_be_visible()
        page.get_by_role("link", name="Home").click()
        expect(page.get_by_role("heading", name="Checks")).to_be_visible()
    assert {url.partition(":")[0] for url in asked} == {"file"}
