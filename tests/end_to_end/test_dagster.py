"""What Dagster knows, and one run of all of it."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from ingestion.settings import settings
from tests.conftest import Server

ASSETS = {
    "staging/raw_events",
    "staging/event_batches",
    "staging/clients",
    "staging/units",
    "staging/users",
    "staging/documents",
    "warehouse/check_results",
    "warehouse/model_offsets",
    "warehouse/restatements",
    "intermediate/stg_chat_events",
    "intermediate/stg_chat_feedback_events",
    "intermediate/stg_documents",
    "intermediate/stg_users",
    "intermediate/stg_pdf_download_events",
    "intermediate/stg_session_events",
    "intermediate/stg_units",
    "intermediate/int_chat_events",
    "intermediate/int_chat_feedback_events",
    "intermediate/int_rated_chats",
    "intermediate/int_pdf_download_events",
    "intermediate/int_session_events",
    "intermediate/int_platform_activity_daily",
    "intermediate/int_platform_stats",
    "marts/chat_events",
    "marts/user_daily_usage",
    "marts/user_monthly_usage",
    "marts/document_usage",
    "marts/system_daily_metrics",
    "marts/user_monthly_summary",
    "marts/user_current_month",
    "marts/user_recent_activity",
    "marts/document_popularity",
    "intermediate/stg_clients",
    "intermediate/stg_lead_events",
    "intermediate/stg_subscription_events",
    "intermediate/stg_api_cost_events",
    "intermediate/stg_actor_days",
    "intermediate/int_lead_events",
    "intermediate/int_subscription_events",
    "intermediate/int_api_cost_events",
    "intermediate/int_actor_days",
    "intermediate/int_clients",
    "intermediate/int_users",
    "intermediate/int_active_months",
    "intermediate/int_inbound_messages",
    "intermediate/int_client_activity_daily",
    "intermediate/int_lead_stage_changes_daily",
    "intermediate/int_subscription_spells",
    "marts/analytics_daily",
    "marts/analytics_weekly",
    "marts/analytics_monthly",
    "marts/funnel_events",
    "marts/lead_funnel",
    "marts/conversion_funnel",
    "marts/lead_cohort_funnel",
    "marts/lead_sources",
    "marts/response_time_distribution",
    "marts/client_cohorts",
    "marts/cohort_retention",
    "marts/platform_analytics",
    "marts/plan_adoption_daily",
    "intermediate/stg_api_request_events",
    "intermediate/stg_builder_action_events",
    "intermediate/stg_credit_events",
    "intermediate/stg_dashboard_events",
    "intermediate/stg_revenue_events",
    "intermediate/stg_system_metric_events",
    "intermediate/int_api_request_events",
    "intermediate/int_builder_action_events",
    "intermediate/int_credit_events",
    "intermediate/int_dashboard_events",
    "intermediate/int_revenue_events",
    "intermediate/int_system_metric_events",
    "intermediate/int_user_days",
    "intermediate/int_client_costs_daily",
    "marts/business_metrics",
    "marts/revenue_daily",
    "marts/revenue_events",
    "marts/credit_usage_daily",
    "marts/builder_usage_daily",
    "marts/dashboard_usage_daily",
    "marts/unit_economics_monthly",
    "marts/api_performance_hourly",
    "marts/api_performance_daily",
    "marts/api_errors",
    "marts/system_metrics_hourly",
    "intermediate/stg_page_view_events",
    "intermediate/stg_conversion_events",
    "intermediate/int_page_view_events",
    "intermediate/int_conversion_events",
    "marts/sessions",
    "marts/stats_hourly",
    "marts/stats_daily",
    "marts/traffic_countries_daily",
    "marts/top_pages_daily",
    "marts/traffic_sources_daily",
    "marts/visitor_funnel_monthly",
    "staging/loads",
    "staging/used_sequences",
    "warehouse/alert_actions",
    "warehouse/builds",
    "intermediate/referrer_sites",
    "intermediate/stg_events",
    "intermediate/stg_event_batches",
    "intermediate/stg_sequence_uses",
    "intermediate/int_events",
    "intermediate/int_sequence_uses",
    "intermediate/int_api_error_windows",
    "marts/alert_history",
    "marts/dashboard_summary",
    "marts/ingest_loss_daily",
    "marts/ingest_reconciliation_daily",
    "marts/warehouse_events",
    "marts/mart_status",
    "marts/restatements",
    "export/analytics_platform_stats",
}


@pytest.fixture(scope="module")
def warehouse(servers: Callable[[int], Server]) -> Iterator[psycopg.Connection]:
    """A fresh warehouse for all of these tests: a run of everything takes a minute."""
    server = servers(18)
    url = server.new_database()
    with server.environment(url), psycopg.connect(url, autocommit=True) as connection:
        yield connection
    server.drop_database(url)


@pytest.fixture(scope="module")
def definitions(warehouse: psycopg.Connection) -> dg.Definitions:
    """Dagster's definitions; imported here, because that parses the dbt project."""
    from orchestration.definitions import defs

    return defs


def test_the_lineage_goes_from_staging_to_the_exported_row(definitions):
    graph = definitions.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == ASSETS
    above = graph.get_ancestor_asset_keys(dg.AssetKey(["export", "analytics_platform_stats"]))
    assert dg.AssetKey(["staging", "raw_events"]) in above
    assert dg.AssetKey(["staging", "units"]) in above


def test_every_asset_is_described(definitions):
    graph = definitions.resolve_asset_graph()
    assert [key for key in graph.get_all_asset_keys() if not graph.get(key).description] == []


def test_the_job_takes_dropped_files_to_the_exported_row_and_a_failed_check_leaves_it(
    definitions, warehouse
):
    drop = settings().drop
    _drop(drop / "units" / "units.csv", b"unit_id,updated_at\nu1,2026-01-01T00:00:00Z\n")
    _drop(drop / "events" / "sessions.ndjson.gz", gzip.compress(_event("session")))
    _drop(drop / "events" / "chats.ndjson", _event("chat") + b"no json\n")
    _drop(drop / "events" / "damaged.ndjson.gz", gzip.compress(_event("chat"))[:-9])

    run = _run_everything(definitions)

    assert run.success
    row = warehouse.execute(
        "select active_users, questions_answered, pdf_downloads, engagement_rate "
        "from export.analytics_platform_stats"
    ).fetchall()
    assert row == [(0, 1, 0, 0)]
    assert _names(drop / "done") == {"units.csv", "sessions.ndjson.gz", "chats.ndjson"}
    assert _names(drop / "events") == set()
    # A file that cannot be read is set aside, with the reason, and holds nothing back.
    assert _failed_checks(run) == ["dropped_files_are_readable"]
    assert _names(drop / "failed") == {"damaged.ndjson.gz", "damaged.ndjson.gz.reason.txt"}
    assert "gzip" in (drop / "failed/events/damaged.ndjson.gz.reason.txt").read_text()

    before = _exported(warehouse)
    # A loader gone wrong: what it writes is not in the plan.
    warehouse.execute(
        "create function pg_temp.spoil() returns trigger language plpgsql as "
        "$$ begin new.event := 'spoilt'; return new; end $$;"
        "create trigger spoil before insert on staging.raw_events "
        "for each row execute function pg_temp.spoil()"
    )
    _drop(drop / "events" / "second.ndjson", _event("chat"))

    run = _run_everything(definitions, raise_on_error=False)

    assert not run.success
    assert _failed_checks(run) == ["raw_events_event_in_plan"]
    materialized = {e.asset_key.to_user_string() for e in run.get_asset_materialization_events()}
    assert materialized == {name for name in ASSETS if name.startswith("staging/")}
    assert _exported(warehouse) == before


def _failed_checks(run: dg.ExecuteInProcessResult) -> list[str]:
    return [check.check_name for check in run.get_asset_check_evaluations() if not check.passed]


def _exported(warehouse) -> list[tuple[object, ...]]:
    return warehouse.execute("select xmin::text, * from export.analytics_platform_stats").fetchall()


def _run_everything(
    definitions: dg.Definitions, raise_on_error: bool = True
) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def("everything")
        return job.execute_in_process(instance=instance, raise_on_error=raise_on_error)


def _event(name: str) -> bytes:
    event = {
        "event_id": str(uuid.uuid4()),
        "event": name,
        "timestamp": "2026-01-31T12:00:00Z",
        "actor": {"client_id": "acme", "unit_id": "u1"},
    }
    return json.dumps(event).encode() + b"\n"


def _drop(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.is_file()}
