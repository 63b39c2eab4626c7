"""Who may do what: every table, view and function, for every role, and whose rows they show."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from expectations.checks import run_checks
from ingestion.load.entities import EntityKind, load_entities
from ingestion.load.loader import load
from ingestion.load.quarantine import replay
from ingestion.sources.files import open_source
from orchestration.operations import build as builds
from orchestration.operations.build import BuildError
from orchestration.operations.export import export_row
from tests.conftest import Server
from tests.support.building import build_at, land, other_project, warm_warehouse
from tests.support.lines import event, line, mixed_file, rows, value
from tests.support.people import (
    API_OF_ACME,
    AS_OF,
    HOSTILE,
    PEOPLE,
    TENANTS,
    entities_of,
    land_both_tenants,
    people,
    sign_in,
    story_of,
    url_of,
)
from warehouse.locks import LockError
from warehouse.schema.access import roles

LOADER, TRANSFORMER, ANALYST, TENANT, MARKETING, API = roles.ROLES
NOBODY = "nobody_in_particular"
SCHEMAS = ("staging", "intermediate", "marts", "export", "warehouse")
PRIVILEGES = (
    "select", "insert", "update", "delete", "truncate", "references", "trigger", "maintain",
)  # fmt: skip

# What tenants read in marts, and by which column their own rows are found. All else there is for
# analysts alone: whoever adds a mart says here which it is.
OF_TENANTS = {
    "client_id": {
        "analytics_daily", "analytics_weekly", "analytics_monthly", "funnel_events", "lead_funnel",
        "conversion_funnel", "lead_cohort_funnel", "lead_sources", "response_time_distribution",
        "client_cohorts", "builder_usage_daily", "unit_economics_monthly", "sessions",
        "stats_hourly", "stats_daily", "traffic_countries_daily", "top_pages_daily",
        "traffic_sources_daily", "visitor_funnel_monthly", "restatements",
        "chat_events", "revenue_events", "api_errors", "clients", "users",
    },
    "user_id": {
        "user_daily_usage", "user_monthly_usage", "credit_usage_daily", "user_monthly_summary",
        "user_current_month", "user_recent_activity",
    },
}  # fmt: skip
OF_ANALYSTS = {
    "cohort_retention", "document_usage", "system_daily_metrics", "document_popularity",
    "platform_analytics", "plan_adoption_daily", "business_metrics", "revenue_daily",
    "dashboard_usage_daily", "api_performance_hourly", "api_performance_daily",
    "system_metrics_hourly", "ingest_loss_daily", "ingest_reconciliation_daily", "alert_history",
    "dashboard_summary", "warehouse_events", "mart_status", "documents",
    "unknown_members",
}  # fmt: skip
# Of these a user's own rows are found, too: one who is mapped to a client and a user sees those.
OF_USERS = {"chat_events", "revenue_events", "api_errors", "users", *OF_TENANTS["user_id"]}

UPSERTED = {LOADER: "select insert update", TRANSFORMER: "select"}
TABLES: dict[str, dict[str, str]] = {
    "staging.raw_events": {LOADER: "insert", TRANSFORMER: "select"},
    "staging.loads": {LOADER: "select insert", TRANSFORMER: "select"},
    "staging.event_batches": {LOADER: "select insert", TRANSFORMER: "select"},
    "staging.source_cursors": {LOADER: "select insert update"},
    "staging.rejected_events": {LOADER: "insert"},
    "staging.suppressed_events": {LOADER: "insert", TRANSFORMER: "select"},
    "staging.used_sequences": {LOADER: "insert", TRANSFORMER: "select"},
    "staging.unknown_members": {LOADER: "select insert", TRANSFORMER: "select"},
    "staging.visitor_salts": {LOADER: "select insert delete"},
    "staging.clients": UPSERTED,
    "staging.units": UPSERTED,
    "staging.users": UPSERTED,
    "staging.documents": UPSERTED,
    "export.analytics_platform_stats": {MARKETING: "select"},
    "warehouse.migrations": {},
    "warehouse.lock_batch_seq": {LOADER: "update", TRANSFORMER: "update"},
    "warehouse.lock_landing": {LOADER: "update"},
    "warehouse.lock_partitions": {},
    "warehouse.lock_access": {TRANSFORMER: "update"},
    "warehouse.lock_build": {TRANSFORMER: "update"},
    "warehouse.lock_dbt": {TRANSFORMER: "update"},
    "warehouse.lock_erasure": {},
    "warehouse.lock_checks": {},
    "warehouse.lock_export": {},
    "warehouse.lock_notifications": {},
    "warehouse.lock_drop_folder": {},
    "warehouse.lock_models": {TRANSFORMER: "select insert update"},
    "warehouse.applied_files": {},
    "warehouse.tenants": {},
    "warehouse.builds": {TRANSFORMER: "select insert update delete"},
    "warehouse.model_offsets": {TRANSFORMER: "select insert update"},
    "warehouse.verifications": {TRANSFORMER: "select insert update"},
    "warehouse.stored_models": {TRANSFORMER: "select insert update delete"},
    "warehouse.stored_tests": {TRANSFORMER: "select insert update delete"},
    "warehouse.compiled_nodes": {TRANSFORMER: "select insert update delete"},
    "warehouse.view_digests": {TRANSFORMER: "select insert update"},
    "warehouse.access": {TRANSFORMER: "select insert update delete"},
    "warehouse.check_results": {TRANSFORMER: "select insert"},
    "warehouse.restatements": {TRANSFORMER: "select insert"},
    "warehouse.alert_actions": {TRANSFORMER: "select"},
    "warehouse.touched_periods": {TRANSFORMER: "select insert update delete"},
    "warehouse.erased_rows": {TRANSFORMER: "select insert"},
    "warehouse.run_events": {TRANSFORMER: "select"},
    "warehouse.exports": {TRANSFORMER: "select"},
    "warehouse.notifications": {},
    "warehouse.erasures": {},
    "warehouse.erasure_key": {LOADER: "select"},
    "warehouse.keys": {LOADER: "select", API: "select"},
    "warehouse.rejected_lines": {},
    "staging.dropped_months": {LOADER: "select", TRANSFORMER: "select"},
    "warehouse.objects": {TRANSFORMER: "select"},
    "warehouse.granted": {TRANSFORMER: "select"},
}
# Rights on some columns alone: what views of marts read of the bookkeeping and of facts.
RESTATED = "mart client_id period old_values new_values cause run restated_at"
COLUMNS: dict[tuple[str, str, str], str] = {
    (LOADER, "staging.raw_events", "select"): "client_id event_id timestamp",
    (LOADER, "staging.loads", "update"): "state error ended_at",
    (ANALYST, "staging.loads", "select"): "load_id kind source state error ended_at",
    (ANALYST, "staging.event_batches", "select"): "load_id received accepted",
    (ANALYST, "warehouse.model_offsets", "select"): "model batch_seq as_of row_count moved_at",
    (ANALYST, "warehouse.verifications", "select"): "model verified_at verified_cells",
    (ANALYST, "warehouse.check_results", "select"): "check_name model severity passed checked_at",
    (ANALYST, "warehouse.builds", "select"): "invocation_id batch_seq as_of window_start "
    "window_end full_refresh state started_at ended_at models",
    (ANALYST, "warehouse.alert_actions", "select"): "alert_id action taken_by taken_at",
    (ANALYST, "warehouse.restatements", "select"): RESTATED,
    (ANALYST, "warehouse.run_events", "select"): "run_id event job occurred_at detail",
    (ANALYST, "warehouse.exports", "select"): "export_id target state reason accepted_by run build "
    "ended_at",
    (LOADER, "warehouse.erasures", "select"): "erasure_id is_of_one_client subject_hash "
    "identifier_length identifier_hash",
    (TRANSFORMER, "warehouse.erasures", "select"): "erasure_id batch_seq rows_forgotten_at",
    (TRANSFORMER, "staging.event_batches", "update"): "erased",
    (TENANT, "warehouse.restatements", "select"): RESTATED,
    (TENANT, "warehouse.tenants", "select"): "role_name client_id user_id",
    (API, "warehouse.tenants", "select"): "role_name client_id user_id",
    (API, "warehouse.alert_actions", "insert"): "alert_id action taken_by",
    (TENANT, "intermediate.stg_documents", "select"): "document_id city zone",
}
# Facts that views and functions of marts read: by tenants, of whom policies hold others' rows back.
FACTS_READ = {
    TENANT: {"int_events", "int_revenue_events", "int_lead_events", "int_clients", "int_users"},
    ANALYST: {
        "int_events", "int_revenue_events", "int_lead_events", "int_api_request_events",
        "int_system_metric_events", "int_api_error_windows", "stg_documents", "int_clients",
        "int_users", "int_documents", "stg_unknown_members",
    },
}  # fmt: skip
READ_STANDS = {ANALYST, TENANT, TRANSFORMER}
FUNCTIONS: dict[str, set[str]] = {
    "staging.add_raw_partitions": {LOADER},
    "staging.landed_and_dropped": {LOADER},
    # Erasure and retention are the owner's.
    "staging.drop_raw_month": set(),
    **{
        f"warehouse.{name}": set()
        for name in (
            "client_of", "condition_of_holding", "line_holds", "is_object", "unescaped",
            "bytes_as_text", "search", "remove_subject", "remove_mentions", "note_erasure",
            "entities_holding", "is_safe_to_touch", "cut_actor", "ids_of_actors", "may_hold",
            "names_nobody",
            "as_bytes", "boundary_pattern", "cut", "cut_bytes", "cut_mentions", "file_presence",
            "is_named", "is_identifying_part", "is_encoded_identifier", "equals_identifier",
            "json_presence", "numeric_members", "longest_fixed_part", "normalized_identifier",
            "like_patterns", "percent_decoded", "text_presence", "redact",
        )
    },
    "warehouse.blockers": {LOADER, TRANSFORMER},
    "warehouse.current_as_of": READ_STANDS,
    "warehouse.last_as_of": READ_STANDS,
    "warehouse.percentile": {ANALYST, TRANSFORMER},
    **{f"warehouse.{name}": {TENANT} for name in ("my_client", "my_user", "sees_client")},
    **{
        f"warehouse.{name}": {TRANSFORMER}
        for name in (
            "pin_build", "refuse_earlier_as_of", "lock_model", "begin_model", "end_model",
            "why_dbt", "models_with_unread_input", "advance_models", "run_model", "run_test",
            "verify_model",
            "is_building", "finish_build", "grant_differences", "policy_statements",
            "apply_access",
            "declared_differences", "follow_declaration", "follow_descriptions",
            "set_locally", "is_distributed", "distribute", "replicate", "has_events_between",
            "rows_of_client", "insert_rows_of_cells", "list_rows_by_client",
        )
    },
    "staging.take_statistics": {TRANSFORMER},
    **{
        f"marts.{name}": {ANALYST, TENANT, TRANSFORMER}
        for name in (
            "calculate_user_engagement", "get_daily_active_users", "calculate_conversion_rate",
            "get_conversion_funnel",
        )
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def owner(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[psycopg.Connection]:
    """The owner of a warehouse with two tenants in it, built; people of all roles may sign in."""
    server = servers(18)
    with (
        warm_warehouse(server) as connection,
        people(connection),
        contextlib.ExitStack() as stack,
    ):
        assert roles.set_up() == []
        # As in life: one signs in to load, another to build, and neither may do more than that.
        with server.environment(url_of(connection, "lou_loader")):
            land_both_tenants(tmp_path_factory.mktemp("events"))
        with server.environment(url_of(connection, "tim_transformer")):
            build_at(AS_OF)
        # The owner's commands sign in as a builder for what builders wrote.
        stack.enter_context(
            server.environment(
                url_of(connection, "postgres"), url_of(connection, "tim_transformer")
            )
        )
        for client in ("acme", "rival"):
            connection.execute(
                "insert into warehouse.restatements "
                "(mart, client_id, period, old_values, cause, run) "
                "values ('analytics_daily', %s, '2026-01-29', '{}', 'rebuild', %s)",
                (client, f"run of {client}"),
            )
        connection.execute(f"create role {NOBODY} nologin")
        yield connection
        connection.execute(f"drop role {NOBODY}")


def relations(owner: psycopg.Connection) -> dict[str, int]:
    """All tables, views and sequences in the database that are not the server's own, with oids."""
    return dict(
        rows(
            owner,
            "select nspname || '.' || relname, c.oid::bigint from pg_class as c "
            "inner join pg_namespace as n on c.relnamespace = n.oid "
            "where relkind in ('r', 'p', 'v', 'm', 'f') "
            "and nspname !~ '^pg_' and nspname <> 'information_schema'",
        )
    )


def expected_on(relation: str) -> dict[str, str]:
    """What each role may do with a table or view."""
    schema, _, name = relation.partition(".")
    if schema in ("intermediate", "marts"):
        readers = {TRANSFORMER: " ".join(PRIVILEGES)}
        if schema == "marts":
            readers |= {ANALYST: "select"}
            if name in OF_TENANTS["client_id"] | OF_TENANTS["user_id"]:
                readers |= {TENANT: "select"}
        return readers
    if re.fullmatch(r"staging\.raw_events_\d{4}_\d{2}", relation):
        return {}
    assert relation in TABLES, (
        f"who may touch {relation}? say so here, and in warehouse/schema/access/roles.py"
    )
    return TABLES[relation]


def test_every_role_may_do_with_every_table_and_view_what_it_should_and_no_more(
    owner: psycopg.Connection,
) -> None:
    found = relations(owner)
    marts = {name.removeprefix("marts.") for name in found if name.startswith("marts.")}
    assert marts == OF_ANALYSTS.union(*OF_TENANTS.values()), "a mart of which nobody says whose"
    expected = {
        (role, relation, privilege)
        for relation in found
        for role, privileges in expected_on(relation).items()
        for privilege in privileges.split()
    }
    actual = set(
        rows(
            owner,
            "select role, relation, privilege from unnest(%s::text[], %s::bigint[]) "
            "as c (relation, oid) cross join unnest(%s::text[]) as r (role) "
            "cross join unnest(%s::text[]) as p (privilege) "
            "where has_table_privilege(role, c.oid::oid, privilege)",
            list(found), list(found.values()), [*roles.ROLES, NOBODY], list(PRIVILEGES),
        )
    )  # fmt: skip
    assert actual - expected == set()
    assert expected - actual == set()


def test_every_role_may_do_with_some_columns_what_it_should_and_no_more(
    owner: psycopg.Connection,
) -> None:
    facts = {
        (role, f"intermediate.{fact}", "select")
        for role, read in FACTS_READ.items()
        for fact in read
    }
    actual: dict[tuple[str, str, str], set[str]] = {}
    for role, relation, privilege, column in rows(
        owner,
        "select role, nspname || '.' || relname, privilege, attname from pg_attribute "
        "inner join pg_class as c on attrelid = c.oid "
        "inner join pg_namespace as n on relnamespace = n.oid "
        "cross join unnest(%s::text[]) as r (role) "
        "cross join unnest(array['select', 'insert', 'update', 'references']) as p (privilege) "
        "where nspname = any(%s) and relkind in ('r', 'p', 'v', 'm', 'f') "
        "and attnum > 0 and not attisdropped "
        "and has_column_privilege(role, c.oid, attnum, privilege) "
        "and not has_table_privilege(role, c.oid, privilege)",
        [*roles.ROLES, NOBODY], list(SCHEMAS),
    ):  # fmt: skip
        actual.setdefault((role, relation, privilege), set()).add(column)
    assert {on for on in actual if on not in COLUMNS} == facts - COLUMNS.keys()
    named = {on: columns for on, columns in actual.items() if on in COLUMNS}
    assert named == {on: set(columns.split()) for on, columns in COLUMNS.items()}
    for fact in FACTS_READ[TENANT]:
        protected = "select relrowsecurity from pg_class where oid = %s::regclass"
        assert value(owner, protected, f"intermediate.{fact}")


def test_every_role_may_call_the_functions_that_it_should_and_no_others(
    owner: psycopg.Connection,
) -> None:
    found = rows(
        owner,
        "select nspname || '.' || proname, p.oid, prosecdef, "
        "array(select role from unnest(%s::text[]) as r (role) "
        "where has_function_privilege(role, p.oid, 'execute')) from pg_proc as p "
        "inner join pg_namespace as n on pronamespace = n.oid where nspname = any(%s)",
        [*roles.ROLES, NOBODY], [*SCHEMAS, "public"],
    )  # fmt: skip
    assert {name: set(who) for name, _, _, who in found} == FUNCTIONS
    # With its owner's rights runs only what gives away nothing but how far builds are, and who
    # holds locks.
    definers = {name for name, _, is_definer, _ in found if is_definer}
    assert definers == {
        "staging.drop_raw_month", "staging.landed_and_dropped",
        "staging.add_raw_partitions", "staging.take_statistics", "warehouse.current_as_of",
        "warehouse.last_as_of", "warehouse.blockers",
    }  # fmt: skip


def test_nobody_makes_anything_where_it_does_not_belong(owner: psycopg.Connection) -> None:
    schemas = [name for (name,) in rows(
        owner,
        "select nspname from pg_namespace "
        "where nspname !~ '^pg_' and nspname <> 'information_schema'",
    )]  # fmt: skip
    # Dagster's own is its owner's alone.
    assert set(schemas) == {*SCHEMAS, "dagster", "public"}
    found = rows(
        owner,
        "select role, schema, privilege from unnest(%s::text[]) as s (schema) "
        "cross join unnest(%s::text[]) as r (role) "
        "cross join unnest(array['usage', 'create']) as p (privilege) "
        "where has_schema_privilege(role, schema, privilege) "
        "and (schema, privilege) <> ('public', 'usage')",
        schemas, [*roles.ROLES, NOBODY],
    )  # fmt: skip
    uses = {
        LOADER: "staging warehouse", TRANSFORMER: "staging intermediate marts warehouse",
        ANALYST: "marts warehouse", TENANT: "marts", MARKETING: "export",
        API: "warehouse",
    }  # fmt: skip
    usage = {(role, s, "usage") for role, names in uses.items() for s in names.split()}
    made = {(TRANSFORMER, schema, "create") for schema in ("intermediate", "marts")}
    assert set(found) == usage | made
    found = rows(
        owner,
        "select role, privilege from unnest(%s::text[]) as r (role) "
        "cross join unnest(array['connect', 'create', 'temporary']) as p (privilege) "
        "where has_database_privilege(role, current_database(), privilege)",
        [*roles.ROLES, NOBODY],
    )
    temporary = {(LOADER, "temporary"), (TRANSFORMER, "temporary")}
    connect = {(role, "connect") for role in roles.ROLES if role != TENANT}
    assert set(found) == connect | temporary
    sequences = rows(
        owner,
        "select role, c.oid::regclass::text from pg_class as c "
        "cross join unnest(%s::text[]) as r (role) "
        "where relkind = 'S' and has_sequence_privilege(role, c.oid, 'usage, select, update')",
        [*roles.ROLES, NOBODY],
    )  # fmt: skip
    assert sequences == [(LOADER, "staging.batch_ids")]


def test_all_that_dbt_makes_belongs_to_the_role_of_builds(owner: psycopg.Connection) -> None:
    owners = rows(
        owner,
        "select distinct pg_get_userbyid(owner_id) from warehouse.objects "
        "where schema_name in ('intermediate', 'marts')",
    )
    assert owners == [(TRANSFORMER,)]
    not_invoking = rows(
        owner,
        "select relname from pg_class where relnamespace = 'marts'::regnamespace "
        "and relkind = 'v' and not coalesce(reloptions @> '{security_invoker=true}', false)",
    )
    assert not_invoking == []


def test_where_nothing_differs_nothing_is_altered_or_locked(owner: psycopg.Connection) -> None:
    with owner.transaction():
        owner.execute("select warehouse.apply_access()")
        strong = rows(
            owner,
            "select relation::regclass::text, mode from pg_locks where pid = pg_backend_pid() "
            "and mode <> 'AccessShareLock' and relation::regclass::text ~ '^(marts|intermediate)'",
        )
        assert strong == []
    again = "select warehouse.grant_differences(array['intermediate', 'marts'], '[]') limit 1"
    assert rows(owner, again), "it is not blind: without wishes all rights are surplus"
    before = rows(owner, "select * from warehouse.granted order by 1, 2, 3, 4, 5, 6, 7")
    assert roles.set_up() == []
    assert rows(owner, "select * from warehouse.granted order by 1, 2, 3, 4, 5, 6, 7") == before


def all_that(owner: psycopg.Connection, who: str) -> dict[str, list[Any]]:
    """What someone reads in all marts that they may read."""
    with sign_in(owner, who) as person:
        readable = rows(
            person,
            "select relname from pg_class where relnamespace = to_regnamespace('marts') "
            "and relkind in ('r', 'v') and has_table_privilege(oid, 'select')",
        )
        return {
            name: rows(person, f"select to_jsonb(t) - 'updated_at' from marts.{name} as t")  # noqa: S608
            for (name,) in readable
        }


def test_analysts_read_everything_in_marts(owner: psycopg.Connection) -> None:
    read = all_that(owner, "ann_analyst")
    assert read.keys() == OF_ANALYSTS.union(*OF_TENANTS.values())
    empty = {name for name, found in read.items() if not found}
    # Of no tenant, and nothing of it happens in the story.
    happens_not = {"dashboard_usage_daily", "system_metrics_hourly", "ingest_loss_daily"}
    assert empty <= happens_not | {"unknown_members"}
    for name in set(read) - OF_ANALYSTS:
        assert "acme" in repr(read[name]), name
        assert "rival" in repr(read[name]), name


@pytest.mark.parametrize(("who", "client"), [("acme_app", "acme"), ("rival_app", "rival")])
def test_a_client_sees_all_of_its_own_rows_and_none_of_others(
    owner: psycopg.Connection, who: str, client: str
) -> None:
    (other,) = {"acme", "rival"} - {client}
    everything = all_that(owner, "ann_analyst")
    read = all_that(owner, who)
    assert read.keys() == OF_TENANTS["client_id"] | OF_TENANTS["user_id"]
    assert other not in repr(read)
    for name in OF_TENANTS["client_id"]:
        own = [row for row in everything[name] if row[0]["client_id"] == client]
        assert sorted(read[name], key=repr) == sorted(own, key=repr), name
        assert own, name
    # A user is nobody's but their own; but chats of the last days are the client's, too.
    seen = {name for name in OF_TENANTS["user_id"] if read[name]}
    assert seen == {"user_recent_activity"}


def test_a_user_sees_their_own_rows_and_none_of_others(owner: psycopg.Connection) -> None:
    everything = all_that(owner, "ann_analyst")
    read = all_that(owner, "acme_user")
    assert {name for name, found in read.items() if found} == OF_USERS
    for name in OF_USERS:
        own = [row for row in everything[name] if row[0]["user_id"] == "u1 of acme"]
        assert sorted(read[name], key=repr) == sorted(own, key=repr), name


def test_a_tenant_who_is_not_mapped_sees_none(owner: psycopg.Connection) -> None:
    read = all_that(owner, "stranger")
    assert read.keys() == OF_TENANTS["client_id"] | OF_TENANTS["user_id"]
    assert {name: found for name, found in read.items() if found} == {}


@pytest.mark.parametrize(
    ("call", "of_acme", "of_user"),
    [
        ("calculate_user_engagement('u1 of acme', 90)", 16, 16),
        ("calculate_user_engagement('u1 of rival', 90)", 0, 0),
        ("get_daily_active_users('2026-01-26')", 2, 1),
        ("calculate_conversion_rate(90)", 100, 100),
        ("get_conversion_funnel('acme', '2026-01-01', '2026-02-01')", 5, 0),
        ("get_conversion_funnel('rival', '2026-01-01', '2026-02-01')", 0, 0),
    ],
)
def test_functions_see_what_who_calls_them_sees(
    owner: psycopg.Connection, call: str, of_acme: int, of_user: int
) -> None:
    # Of the funnel, how many leads came to its stages: it has six rows always.
    what = "sum(leads)::int" if "funnel" in call else "*"
    for who, expected in (("acme_app", of_acme), ("acme_user", of_user)):
        with sign_in(owner, who) as person:
            found = value(person, f"select {what} from marts.{call}")  # noqa: S608
        assert (found or 0) == expected, who


def test_the_site_reads_its_row_and_nothing_else(owner: psycopg.Connection) -> None:
    with sign_in(owner, "site") as site:
        assert rows(site, "select * from export.analytics_platform_stats") == []
        for relation in set(relations(owner)) - {"export.analytics_platform_stats"}:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                site.execute(sql.SQL("select from {}").format(sql.Identifier(*relation.split("."))))


def test_the_policy_is_evaluated_once_a_query_and_its_rows_are_found_by_an_index(
    owner: psycopg.Connection,
) -> None:
    with sign_in(owner, "acme_app") as person:
        person.execute("set enable_seqscan = off; set enable_bitmapscan = off")
        plan = [
            line
            for (line,) in rows(person, "explain (costs off) select * from marts.analytics_daily")
        ]
    assert any("InitPlan" in line for line in plan), plan
    condition = "Index Cond: (client_id = (InitPlan 1).col1)"
    assert any(condition in line for line in plan), plan
    assert not any("SubPlan" in line for line in plan), plan


BEYOND_ALL_TEXT = "\U0010ffff"
PRINTABLE = [chr(code) for code in range(32, 127)]


def estimate(person: psycopg.Connection, relation: str, condition: str, *given: str) -> int:
    """How many rows the planner thinks that there are."""
    query = f"explain (format json) select from {relation} where {condition}"
    return value(person, query, *given)[0]["Plan"]["Plan Rows"]


def greatest_value(person: psycopg.Connection, relation: str, column: str) -> str:
    """The greatest text in a column as far as the planner's estimates tell, by bisection."""
    condition = f"{column} >= %s"
    none = estimate(person, relation, condition, BEYOND_ALL_TEXT)
    found = ""
    while True:
        low, high = 0, len(PRINTABLE)
        while low < high:
            middle = (low + high) // 2
            if estimate(person, relation, condition, found + PRINTABLE[middle]) > none:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            return found
        found += PRINTABLE[low - 1]


def share_of_nulls(person: psycopg.Connection, relation: str, column: str) -> int:
    return estimate(person, relation, f"{column} is null")


# Who may read all rows of what they may read anyway.
READS_ALL = {"ann_analyst": "marts", "tim_transformer": "intermediate marts"}


@pytest.mark.parametrize("who", [*sorted(set(PEOPLE) - TENANTS), API_OF_ACME])
def test_estimates_show_values_to_nobody_who_may_not_read_all_rows(
    owner: psycopg.Connection, who: str
) -> None:
    """The planner asks the statistics of all rows, whatever policies say."""
    columns = rows(
        owner,
        "select nspname, relname, attname, atttypid = 'text'::regtype from pg_attribute "
        "inner join pg_class as c on attrelid = c.oid "
        "inner join pg_namespace as n on relnamespace = n.oid "
        "where attnum > 0 and not attisdropped and relkind in ('r', 'v') "
        "and (nspname = 'marts' or nspname = 'intermediate' and relrowsecurity)",
    )
    assert len(columns) > 300
    with sign_in(owner, who) as person:
        for schema, relation, column, is_text in columns:
            if schema in READS_ALL.get(who, ""):
                continue
            attempt = greatest_value if is_text else share_of_nulls
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                attempt(person, f"{schema}.{relation}", column)


@pytest.mark.parametrize("who", sorted(TENANTS))
def test_tenants_do_not_sign_in(owner: psycopg.Connection, who: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(url_of(owner, who))
    # Nor would they reach the database if they did.
    role = sql.Identifier(who)
    owner.execute(sql.SQL("alter role {} login").format(role))
    try:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url_of(owner, who))
    finally:
        owner.execute(sql.SQL("alter role {} nologin").format(role))


def test_estimates_would_show_values_to_tenants_who_signed_in(owner: psycopg.Connection) -> None:
    # As of a table of some size with two clients: estimates are whole rows, and one at the least.
    n_distinct = "alter table marts.chat_events alter column client_id {} (n_distinct{})"
    owner.execute(n_distinct.format("set", " = 2"))
    owner.execute("analyze marts.chat_events")
    owner.execute("update pg_class set reltuples = 10000 where oid = 'marts.chat_events'::regclass")
    owner.execute("alter role acme_app login")
    grant = sql.SQL("{} connect on database {} {} acme_app")
    database = sql.Identifier(owner.info.dbname)
    owner.execute(grant.format(sql.SQL("grant"), database, sql.SQL("to")))
    try:
        with psycopg.connect(url_of(owner, "acme_app"), autocommit=True) as person:
            assert rows(person, "select distinct client_id from marts.chat_events") == [("acme",)]
            assert greatest_value(person, "marts.chat_events", "client_id") == "rival"
    finally:
        owner.execute(grant.format(sql.SQL("revoke"), database, sql.SQL("from")))
        owner.execute("alter role acme_app nologin")
        owner.execute(n_distinct.format("reset", ""))
        owner.execute("analyze marts.chat_events")


def test_an_earlier_versions_right_to_connect_is_taken_from_tenants(
    owner: psycopg.Connection,
) -> None:
    database = sql.Identifier(owner.info.dbname)
    owner.execute(sql.SQL("grant connect on database {} to warehouse_tenant").format(database))
    assert roles.set_up() == []
    may = "select has_database_privilege('warehouse_tenant', current_database(), 'connect')"
    assert value(owner, may) is False


def test_the_api_takes_a_tenants_role_for_a_transaction_and_reads_nothing_without(
    owner: psycopg.Connection,
) -> None:
    with sign_in(owner, "api") as api:
        for client in ("acme", "rival"):
            with api.transaction():
                api.execute("set transaction read only")
                api.execute(sql.SQL("set local role {}").format(sql.Identifier(f"{client}_app")))
                found = rows(api, "select distinct client_id from marts.chat_events")
                assert found == [(client,)]
            # It must know its keys and whom they stand for.
            for relation in relations(owner).keys() - {"warehouse.keys", "warehouse.tenants"}:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    api.execute(
                        sql.SQL("select from {}").format(sql.Identifier(*relation.split(".")))
                    )


def test_logins_of_people_are_held_within_limits(owner: psycopg.Connection) -> None:
    assert roles.set_up() == []
    for who, (group, _) in PEOPLE.items():
        if who in TENANTS:
            continue
        limits = roles.LIMITS.get(group, {})
        with sign_in(owner, who) as person:
            for name in ("statement_timeout", "idle_in_transaction_session_timeout",
                         "temp_file_limit"):  # fmt: skip
                unlimited = "-1" if name == "temp_file_limit" else "0"
                assert value(person, f"show {name}") == limits.get(name, unlimited), (who, name)
        most = "select rolconnlimit from pg_roles where rolname = %s"
        assert value(owner, most, who) == int(limits.get("connection limit", -1)), who
    with sign_in(owner, "ann_analyst") as person:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            person.execute("set temp_file_limit = -1")
        for call in ("lo_creat(-1)", "lo_from_bytea(0, '')", "lo_put(1, 0, '')",
                     "pg_logical_emit_message(false, '', '')"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                person.execute(f"select {call}")
    # What a DBA has set stays.
    owner.execute("alter role ann_analyst set statement_timeout = '1h'")
    owner.execute(
        sql.SQL("alter role ann_analyst in database {} reset statement_timeout").format(
            sql.Identifier(owner.info.dbname)
        )
    )
    try:
        assert roles.set_up() == []
        with sign_in(owner, "ann_analyst") as person:
            assert value(person, "show statement_timeout") == "1h"
    finally:
        owner.execute("alter role ann_analyst reset statement_timeout")


def test_people_of_the_test_are_of_all_roles() -> None:
    assert {group for group, _ in PEOPLE.values()} == set(roles.ROLES)


LEAKY = """
    create function pg_temp.leak(text) returns boolean language plpgsql cost 0.0000001 as
    $$ begin raise notice 'leaked %', $1; return true; end $$;
    create function pg_temp.always(text, text) returns boolean language sql as 'select true';
    create operator pg_temp.= (leftarg = text, rightarg = text, function = pg_temp.always);
    create operator pg_temp.<<< (leftarg = text, rightarg = text, function = pg_temp.always);
"""
# By kind: attempts, each a line of statements.
ATTEMPTS = {
    kind: [line for line in lines.splitlines() if line]
    for kind, lines in re.findall(
        r"^--- (.*)\n((?:(?!---).*\n)*)",
        Path(__file__).with_name("attempts.sql").read_text("utf-8"),
        re.MULTILINE,
    )
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_no_statement_of_a_tenant_shows_anothers_rows(
    owner: psycopg.Connection, attempt: str
) -> None:
    # More than a tenant has: temporary functions of their own must not help, either.
    grant = sql.SQL("{} temporary on database {} {} acme_app")
    database = sql.Identifier(owner.info.dbname)
    owner.execute(grant.format(sql.SQL("grant"), database, sql.SQL("to")))
    allowed = 0
    try:
        for line in ATTEMPTS[attempt]:
            succeeded, reported = answers_to(owner, line)
            # The words of the attempt itself may come back.
            assert "rival" not in re.sub(r"rival_app|rival_too|/rival", "", reported), line
            allowed += succeeded
    finally:
        owner.execute(grant.format(sql.SQL("revoke"), database, sql.SQL("from")))
    # Attempts that are refused to the last would prove little: most kinds get somewhere.
    assert allowed or attempt in {"another role", "the mapping", "locks, writes and changes"}


def answers_to(owner: psycopg.Connection, statements: str) -> tuple[bool, str]:
    """Whether acme_app may run these, one after the other, and all that it receives."""
    reported: list[str] = []
    with sign_in(owner, "acme_app", through=API_OF_ACME) as person:
        person.execute(LEAKY)
        person.add_notice_handler(lambda notice: reported.append(str(notice.message_primary)))
        try:
            for statement in statements.split("; "):
                if statement.endswith("to stdout"):
                    with person.cursor().copy(statement) as copy:
                        reported += [bytes(block).decode() for block in copy]
                    continue
                cursor = person.execute(statement)
                if cursor.description:
                    reported.append(repr(cursor.fetchall()))
        except psycopg.Error as error:
            parts = ("message_primary", "message_detail", "message_hint", "context")
            reported += [str(getattr(error.diag, part)) for part in parts]
            return False, "\n".join(reported)
    return True, "\n".join(reported)


def test_the_attempts_would_show_what_is_not_held_back(owner: psycopg.Connection) -> None:
    shown = set()
    owner.execute("alter table marts.chat_events disable row level security")
    grant = sql.SQL("{} temporary on database {} {} acme_app")
    database = sql.Identifier(owner.info.dbname)
    owner.execute(grant.format(sql.SQL("grant"), database, sql.SQL("to")))
    try:
        for name, lines in ATTEMPTS.items():
            for line in lines:
                if "chat_events" in line and "rival" in answers_to(owner, line)[1]:
                    shown.add(name)
    finally:
        owner.execute(grant.format(sql.SQL("revoke"), database, sql.SQL("from")))
        owner.execute("select warehouse.apply_access()")
    assert shown >= {
        "errors that tell values", "functions and operators of one's own", "views of one's own",
        "prepared statements and cursors", "copies", "rows counted around the policy",
        "what lies beneath",
    }  # fmt: skip
    assert value(
        owner, "select relrowsecurity from pg_class where oid = 'marts.chat_events'::regclass"
    )


def test_a_tenant_makes_nothing_and_connects_to_no_other_warehouse(
    owner: psycopg.Connection, servers: Callable[[int], Server]
) -> None:
    with sign_in(owner, "acme_app") as person:
        for statement in (
            "create table public.t ()", "create temporary table t ()", "create schema s",
            "create function pg_temp.f() returns int language sql as 'select 1'",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                person.execute(statement)
    server = servers(18)
    url = server.new_database()
    with server.environment(url):
        assert roles.set_up() == []
    owner.execute("create role passer_by login")
    try:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url.replace("postgres@", "passer_by@"))
    finally:
        owner.execute("drop role passer_by")
        server.drop_database(url)


def test_a_loader_loads_whatever_comes_and_reads_no_more_than_that_takes(
    owner: psycopg.Connection, servers: Callable[[int], Server], tmp_path: Path
) -> None:
    events = tmp_path / "events.ndjson"
    # A month that has no partition yet, refused lines, repeats within the file and of earlier ones.
    events.write_bytes(mixed_file(300) + line(9000, timestamp="2019-05-01T00:00:00Z"))
    units = tmp_path / "units.csv"
    units.write_text("unit_id,updated_at\nu1,2026-01-01T00:00:00Z\nu2,never\n")
    with servers(18).environment(url_of(owner, "lou_loader")):
        first, second = (load(open_source(str(events))).counts for _ in range(2))
        assert first.accepted > 100
        assert first.rejected
        assert (second.accepted, second.duplicates) == (0, first.accepted + first.duplicates)
        assert load_entities(EntityKind.UNITS, open_source(str(units))).rejected == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            replay()
        with pytest.raises(LockError, match="lou_loader may not take lock_build"):
            build_at(AS_OF)
    with sign_in(owner, "lou_loader") as person:
        for query in (
            "select payload from staging.rejected_events", "select actor from staging.raw_events",
            "select * from staging.used_sequences", "select from marts.chat_events",
            "delete from staging.raw_events", "delete from staging.event_batches",
            "update staging.event_batches set accepted = 0", "update staging.loads set source = ''",
            "drop table staging.raw_events_2019_05",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                person.execute(query)


@pytest.mark.deep
def test_a_builder_builds_and_neither_reads_payloads_nor_checks_nor_exports(
    owner: psycopg.Connection, servers: Callable[[int], Server], tmp_path: Path
) -> None:
    before = rights_and_policies(owner)
    land(tmp_path, [event(9001)])
    with servers(18).environment(url_of(owner, "tim_transformer")):
        build_at(AS_OF, with_dbt=True)
        assert not build_at(AS_OF + timedelta(minutes=5)).ran_dbt
        with pytest.raises(LockError, match="as the warehouse's owner"):
            run_checks()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            load_entities(EntityKind.UNITS, open_source("/dev/null"))
    with sign_in(owner, "tim_transformer") as person:
        for query in (
            "select from staging.rejected_events", "select from staging.visitor_salts",
            "select from warehouse.tenants", "insert into warehouse.tenants values ('x', 'acme')",
            "insert into export.analytics_platform_stats values (1, 0, 0, 0, 0, now())",
            "delete from staging.raw_events", "create schema theirs", "create table staging.t ()",
            "delete from warehouse.check_results",
            "alter function warehouse.why_dbt owner to current_user",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                person.execute(query)
    run_checks()
    with (
        servers(18).environment(url_of(owner, "tim_transformer")),
        pytest.raises(LockError, match="as the warehouse's owner"),
    ):
        export_row()
    assert export_row().updated_at == AS_OF + timedelta(minutes=5)
    assert rights_and_policies(owner) == before


def test_the_owner_builds_with_the_rights_of_builders(
    owner: psycopg.Connection,
) -> None:
    planted = "insert into warehouse.tenants values ('tim_transformer', 'acme')"
    # It reads what was loaded before: the build below then runs these statements alone.
    build_at(AS_OF + timedelta(minutes=8))
    with sign_in(owner, "tim_transformer") as person:
        person.execute(
            "update warehouse.stored_models set replace_rows = array_prepend(%s, replace_rows) "
            "where is_time_dependent",
            (planted,),
        )
    try:
        with pytest.raises(BuildError, match=r"int_platform_stats \(permission denied"):
            build_at(AS_OF + timedelta(minutes=10))
    finally:
        owner.execute(
            "update warehouse.stored_models set replace_rows = replace_rows[2:] "
            "where is_time_dependent"
        )


# Names that a computer gives: another one for each client, whatever it is called.
GIVEN = {
    "event_id", "session_id", "updated_at", "alert_id", "run", "restated_at", "built_as_of",
    "built_batch_seq", "batch_seq",
}  # fmt: skip


@pytest.mark.deep
def test_whatever_ids_and_values_are_called_they_come_out_as_they_came(
    owner: psycopg.Connection, tmp_path: Path
) -> None:
    rows_before = rows_by_mart(owner)
    directory = tmp_path / "it's; $$ {{ no }} %s \U0001f469 \\ \u202e"
    directory.mkdir()
    mapping = directory / "map'; drop table x; -- {{ no }} %s.sql"
    mapping.write_text(
        "select * from read_ndjson(getvariable('source'), columns = {event: 'varchar', "
        "timestamp: 'varchar', actor: 'json', context: 'json', properties: 'json'})"
    )
    sources = []
    for number, client in enumerate(HOSTILE):
        for kind, entities in entities_of(client).items():
            file = directory / f"{kind}_{number}.{'csv' if kind == 'documents' else 'ndjson'}"
            with file.open("w", encoding="utf-8", newline="") as out:
                if kind == EntityKind.DOCUMENTS:
                    writer = csv.DictWriter(out, entities[0])
                    writer.writeheader()
                    writer.writerows(entities)
                else:
                    out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in entities)
            assert load_entities(kind, open_source(str(file))).rejected == 0
        events = directory / f"events_{number}.ndjson"
        events.write_text(
            "".join(
                json.dumps(event, ensure_ascii=bool(number % 2)) + "\n"
                for event in story_of(client)
            ),
            "utf-8",
        )  # fmt: skip
        source = open_source(str(events), None if number % 3 else mapping)
        assert load(source).counts.rejected == 0
        sources.append(source.name)
    as_of = AS_OF + timedelta(minutes=20)
    build_at(as_of)
    assert [result.check_name for result in run_checks() if not result.passed] == []
    row = export_row()
    assert (row.updated_at, row.active_users) == (as_of, len(HOSTILE) + 2)
    units = rows(owner, "select unit_id from intermediate.int_session_events where unit_id <> ''")
    assert {unit for (unit,) in units} == {f"unit of {c}" for c in ("acme", "rival", *HOSTILE)}

    marts = rows_by_mart(owner)
    assert rows_before.keys() - WITHOUT_TENANTS
    for name in rows_before.keys() - WITHOUT_TENANTS:
        # The same story as acme's, but for the names in it; all else stands as it stood.
        story = [row for row in rows_before[name] if "acme" in repr(row)]
        assert story, name
        expected = [renamed(row, client) for row in story for client in HOSTILE]
        assert sorted(marts[name], key=repr) == sorted(rows_before[name] + expected, key=repr), name
    loaded = [row["detail"].get("source") for row in marts["warehouse_events"]]
    assert set(sources) <= set(loaded)

    owner.execute("insert into warehouse.tenants values ('stranger', %s)", (HOSTILE[1],))
    try:
        own = [row for row in marts["chat_events"] if row["client_id"] == HOSTILE[1]]
        read = all_that(owner, "stranger")["chat_events"]
        assert len(read) == len(own) == 2
    finally:
        owner.execute("delete from warehouse.tenants where role_name = 'stranger'")


# Marts in which nothing of a client's own name stands.
WITHOUT_TENANTS = {
    "cohort_retention", "platform_analytics", "business_metrics", "system_daily_metrics",
    "revenue_daily",
    "dashboard_usage_daily", "system_metrics_hourly", "ingest_loss_daily", "dashboard_summary",
    "ingest_reconciliation_daily", "warehouse_events", "mart_status", "restatements",
    "unknown_members",
}  # fmt: skip


def rows_by_mart(owner: psycopg.Connection) -> dict[str, list[Any]]:
    """All that analysts read, less names that are given anew for every client."""
    return {
        name: [{k: v for k, v in row.items() if k not in GIVEN} for (row,) in found]
        for name, found in all_that(owner, "ann_analyst").items()
    }


def renamed(value: Any, client: str) -> Any:
    """The same with the client's name in the place of acme's, however deep."""
    if isinstance(value, dict):
        return {key: renamed(item, client) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, client) for item in value]
    return value.replace("acme", client) if isinstance(value, str) else value


def rights_and_policies(owner: psycopg.Connection) -> list[Any]:
    return [
        rows(owner, query)
        for query in (
            "select *, acl::text from warehouse.objects as o order by object, column_name",
            "select * from warehouse.granted order by role, object, column_name, privilege",
            "select * from pg_policies order by schemaname, tablename, policyname",
            "select oid::regclass::text, oid, relrowsecurity, reloptions::text from pg_class "
            "where relnamespace = 'marts'::regnamespace and relkind in ('r', 'v') order by 1",
        )
    ]


NEW_MART = """
    {{ config(meta={'access': 'client'}) }}
    select client_id, count(*) as chats, now() as updated_at
    from {{ ref('chat_events') }} group by client_id
"""
NEW_YML = """
version: 2
models:
  - name: new_mart
    columns: &columns
      - {name: client_id, data_type: text}
      - {name: chats, data_type: bigint}
      - {name: updated_at, data_type: timestamptz}
  - name: silent_mart
    columns: *columns
"""
RUN_COLUMN = """      - name: run
        data_type: text
        description: "The build that changed them."
"""


@pytest.mark.deep
def test_marts_keep_rights_and_policies_through_every_build(
    owner: psycopg.Connection,
    servers: Callable[[int], Server],
    tmp_path: Path,
) -> None:
    before = rights_and_policies(owner)
    later = AS_OF + timedelta(hours=1)
    # Whoever builds, and however: the owner, too, makes nothing of its own.
    build_at(later, full_refresh=True)
    assert rights_and_policies(owner) == before

    project = tmp_path / "dbt_project"
    shutil.copytree(builds.DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    marts = project / "models/marts"
    (marts / "clients/new_mart.sql").write_text(NEW_MART)
    (marts / "clients/silent_mart.sql").write_text(NEW_MART.replace("'access': 'client'", ""))
    (marts / "clients/_new.yml").write_text(NEW_YML)
    # A changed model is rebuilt; a view that loses a column is made anew.
    for file, old, new in (
        ("clients/lead_sources.sql", "select * from", "select /* changed */ * from"),
        ("trust/restatements.sql", "    run,\n", ""),
        ("trust/_trust__models.yml", RUN_COLUMN, ""),
    ):
        text = (marts / file).read_text()
        assert old in text, file
        (marts / file).write_text(text.replace(old, new, 1))
    with other_project(project), servers(18).environment(url_of(owner, "tim_transformer")):
        build_at(later, select="lead_sources restatements new_mart silent_mart")

    made = {"new_mart", "silent_mart"}
    after = rights_and_policies(owner)
    replaced = value(owner, "select 'marts.restatements'::regclass::oid::bigint")
    assert replaced not in {row[1] for row in before[3]}, "the view is a new one"
    for old, new in zip(before[:3], after[:3], strict=True):
        kept = [row for row in new if not made & {*map(str, row)}]
        assert kept == old
    new_rights = {row[6:] for row in after[1] if "new_mart" in row}
    assert new_rights == {(ANALYST, "select"), (TENANT, "select")}
    assert not [row for row in after[1] if "silent_mart" in row]
    with sign_in(owner, "acme_app") as person:
        assert rows(person, "select client_id, chats from marts.new_mart") == [("acme", 2)]
        assert rows(person, "select client_id from marts.restatements") == [("acme",)]
