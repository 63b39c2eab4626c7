"""The dbt project by itself: its unit tests, what it promises, and that it says all it should."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestion.contract.tracking_plan import tracking_plan
from orchestration.operations.build import (
    DBT_PROJECT,
    BuildOptions,
    build,
    dbt_command,
    dbt_environment,
    environment,
)
from orchestration.operations.expire import typed_facts
from orchestration.operations.models_site import OVERVIEW, make_readable
from orchestration.operations.queries import ready_queries
from tests.conftest import ON_16, Server
from tests.support.building import cold_dbt, warm_warehouse

PROJECT_NAME = "warehouse"


@pytest.fixture(scope="module", params=[18, ON_16])
def database(
    servers: Callable[[int], Server], request: pytest.FixtureRequest
) -> Iterator[psycopg.Connection]:
    """A warehouse in which nothing has landed, built: unit tests need its empty tables."""
    with warm_warehouse(servers(request.param)) as connection:
        _, warnings = dbt(*dbt_command("build"))
        assert warnings == []
        yield connection


@pytest.fixture(scope="module")
def parsed(servers: Callable[[int], Server]) -> tuple[Any, list[str]]:
    """The manifest of a full parse, and all that dbt warned of."""
    server = servers(18)
    with server.environment(server.url("postgres")):
        return dbt("--no-partial-parse", "parse", "--show-all-deprecations", runner=cold_dbt())


def dbt(
    *arguments: str, runner: Callable[..., Any] | None = None, **variables: str
) -> tuple[Any, list[str]]:
    """Run dbt in this process; return its result and its warnings."""
    from dbt.cli.main import dbtRunner

    warnings: list[str] = []

    def note(event: Any) -> None:
        if event.info.level in {"warn", "error"}:
            warnings.append(f"{event.info.name}: {event.info.msg}")

    with environment(dbt_environment() | variables):
        outcome = (runner or dbtRunner)(callbacks=[note]).invoke(list(arguments))
    assert outcome.success, outcome.exception or warnings
    return outcome.result, warnings


def models(manifest: Any) -> list[Any]:
    return [node for node in manifest.nodes.values() if node.resource_type == "model"]


TIME_ZONES = {16: "UTC", 18: "Europe/Berlin"}


@pytest.mark.deep
def test_every_unit_test_of_the_models_passes_whatever_the_time_zone_of_the_session(
    database: psycopg.Connection,
) -> None:
    time_zone = TIME_ZONES[database.info.server_version // 10_000]
    options = f"{dbt_environment()['PGOPTIONS']} -c timezone={time_zone}"
    result, warnings = dbt("test", "--select", "test_type:unit", PGOPTIONS=options)
    statuses = [run.status for run in result.results if run.node.resource_type == "unit_test"]
    assert set(statuses) == {"pass"}
    assert warnings == []


def test_every_model_that_decides_something_has_unit_tests(parsed: tuple[Any, list[str]]) -> None:
    manifest, _ = parsed
    tested = {test.model for test in manifest.unit_tests.values()}
    # A fact is its staging view, cut by batches: one of them stands for all.
    cut_alike = {model.name for model in models(manifest) if "facts" in model.fqn}
    assert tested & cut_alike
    # What was noted or decided elsewhere, passed on as it is.
    passed_on = {"restatements", "clients", "users"}
    assert {model.name for model in models(manifest)} - cut_alike - passed_on <= tested


@pytest.mark.deep
def test_a_build_warns_of_nothing(database: psycopg.Connection) -> None:
    for mode in ([], ["--full-refresh"]):
        _, warnings = dbt(*dbt_command("build"), *mode)
        assert warnings == []


def test_the_project_is_read_without_warnings_or_deprecations(
    parsed: tuple[Any, list[str]],
) -> None:
    _, warnings = parsed
    assert warnings == []


def test_every_model_and_column_is_described_and_every_contract_enforced(
    parsed: tuple[Any, list[str]],
) -> None:
    manifest, _ = parsed
    described = {model.name for model in models(manifest) if model.description.strip()}
    assert {model.name for model in models(manifest)} == described
    silent = [
        f"{model.name}.{name}"
        for model in models(manifest)
        for name, column in model.columns.items()
        if not column.description.strip() or not column.data_type
    ]
    assert silent == []
    assert [model.name for model in models(manifest) if not model.config.contract.enforced] == []
    assert [source.name for source in manifest.sources.values() if not source.description] == []


def test_every_model_says_in_its_first_words_what_a_row_is(parsed: tuple[Any, list[str]]) -> None:
    manifest, _ = parsed
    grain = re.compile(r"(One row per|Exactly one row)\b")
    assert [m.name for m in models(manifest) if not grain.match(m.description)] == []


def test_the_site_of_models_lists_every_mart_and_every_ready_query(
    parsed: tuple[Any, list[str]],
) -> None:
    manifest, _ = parsed
    site = json.loads(json.dumps(manifest.writable_manifest().to_dict(), default=str))
    make_readable(site, ready_queries())
    overview = site["docs"][OVERVIEW]["block_contents"]
    marts = [model.name for model in models(manifest) if model.schema == "marts"]
    assert [name for name in [*marts, *ready_queries()] if f"[{name}](#!/" not in overview] == []
    # Of the declarations of the mechanism nothing is left.
    assert "touched_by" not in json.dumps([node["meta"] for node in site["nodes"].values()])


# Numbers that are no counts, by a part of their name; what names a unit, there or in words.
MEASURED = re.compile(
    r"rate$|cost|avg_|average|latest|minimum|maximum|usage|value|multiple|within|median|revenue|amount"
    r"|duration|change"
)
UNIT_IN_NAME = re.compile(r"_(cents|usd|seconds|ms|percent|pct)$|_hours_|_count$")
UNIT_IN_WORDS = re.compile(
    r"percent|basis points|USD|\bcents\b|own unit|in the unit|1 to 5|of 1\b|factor|tokens",
    re.IGNORECASE,
)


def test_every_measured_column_says_its_unit(parsed: tuple[Any, list[str]]) -> None:
    manifest, _ = parsed
    numbers = {"bigint", "integer", "numeric"}
    silent = [
        f"{model.name}.{name}: {column.description}"
        for model in models(manifest)
        if model.schema == "marts" or model.name == "int_platform_stats"
        for name, column in model.columns.items()
        if column.data_type in numbers
        and MEASURED.search(name)
        and not UNIT_IN_NAME.search(name)
        and not UNIT_IN_WORDS.search(column.description)
    ]
    assert silent == []


def test_every_mart_and_function_declares_who_reads_it(parsed: tuple[Any, list[str]]) -> None:
    manifest, _ = parsed
    marts = [node for node in models(manifest) if node.schema == "marts"]
    silent = [
        node.name
        for node in [*marts, *manifest.functions.values()]
        if node.config.meta.get("access") not in {"analysts", "client", "client_and_user", "user"}
    ]
    assert silent == []
    # By what it declares rows are distinguished: the columns must be there.
    by = {"client": {"client_id"}, "user": {"user_id"}, "client_and_user": {"client_id", "user_id"}}
    for node in models(manifest):
        missing = by.get(node.config.meta.get("access"), set()) - node.columns.keys()
        assert not missing, node.name


@pytest.fixture(scope="module")
def copied_project(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A copy of the project that dbt has parsed, with all variables set for dbt to use it."""
    copy = tmp_path_factory.mktemp("copied") / "dbt_project"
    shutil.copytree(DBT_PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs"))
    server = servers(18)
    with server.environment(server.url("postgres")), pytest.MonkeyPatch.context() as patch:
        for name, value in dbt_environment().items():
            patch.setenv(name, value)
        for name in ("DBT_PROJECT_DIR", "DBT_PROFILES_DIR"):
            patch.setenv(name, str(copy))
        patch.setenv("DBT_TARGET_PATH", str(copy / "target"))
        patch.chdir(copy)
        assert cold_dbt()().invoke(["parse"]).success
        yield copy


TYPOS = {
    "an unknown key of meta": ("window_on: date", "windw_on: date", "windw_on", "window_on"),
    "an unknown key of a declaration": ("where: is_client}", "were: is_client}", "were", "where"),
    "an unknown macro": (
        "macro: answered_messages", "macro: answer", "answer", "answered_messages"
    ),
    "an argument that the macro does not take": (
        "{macro: answered_messages}", "{macro: answered_messages, where: is_client}",
        "answered_messages", "where",
    ),
    "an unknown condition": ("where: is_client}", "where: is_clint}", "is_clint", "is_client"),
    "an unknown macro of a column": (
        "start_of_month(occurred_on)", "start_of_mont(occurred_on)", "start_of_mont",
        "start_of_month",
    ),
    "too few columns": (
        "int_api_cost_events: [client_id, occurred_on]", "int_api_cost_events: [client_id]",
        "1 columns", "client_id, date",
    ),
    "an unknown upstream": (
        "int_api_cost_events: [client_id", "int_api_cost: [client_id", "int_api_cost",
        "int_client_activity_daily",
    ),
}  # fmt: skip


@pytest.mark.parametrize("typo", TYPOS)
def test_a_typo_in_a_declaration_of_cells_is_a_clear_error_of_parsing(
    copied_project: Path, typo: str
) -> None:
    right, wrong, *named = TYPOS[typo]
    file = copied_project / "models" / "intermediate" / "_intermediate__models.yml"
    text = file.read_text("utf-8")
    assert right in text
    file.write_text(text.replace(right, wrong, 1), "utf-8")
    try:
        outcome = cold_dbt()().invoke(["parse"])
    finally:
        file.write_text(text, "utf-8")
    assert not outcome.success
    message = str(outcome.exception)
    assert "models/intermediate/int_" in message
    assert [name for name in named if name not in message] == []


def test_a_declared_column_that_the_upstream_lacks_stops_a_build_before_any_model(
    copied_project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = copied_project / "models" / "intermediate" / "_intermediate__models.yml"
    text = file.read_text("utf-8")
    right = "int_api_cost_events: [client_id, occurred_on]"
    file.write_text(text.replace(right, right.replace("occurred_on", "ocurred_on")), "utf-8")
    try:
        outcome = cold_dbt()().invoke(["run-operation", "check_declared_columns"])
    finally:
        file.write_text(text, "utf-8")
    assert not outcome.success
    message = capfd.readouterr().out
    assert "models/intermediate/int_client_activity_daily.sql" in message
    assert "`ocurred_on`. It has: " in message


def test_dbt_knows_every_macro_that_a_declaration_may_name(
    parsed: tuple[Any, list[str]],
) -> None:
    manifest, _ = parsed
    prefix = f"macro.{PROJECT_NAME}."
    known = {
        id.removeprefix(prefix)
        for id in manifest.macros[f"{prefix}named_in_declarations"].depends_on.macros
    }
    declarable = {id.removeprefix(prefix) for id in manifest.macros if f"{prefix}touched__" in id}
    listed = manifest.macros[f"{prefix}column_macros"].macro_sql
    declarable |= set(re.findall(r"'(\w+)'", listed))
    for model in models(manifest):
        for declared in model.config.meta.get("touched_by", {}).values():
            parts = declared if isinstance(declared, list) else [declared]
            conditions = {part["where"] for part in parts if "where" in part}
            declarable |= {name for name in conditions if name.isidentifier()}
    assert declarable <= known


def test_every_column_of_the_database_is_in_the_contract_with_its_type(
    database: psycopg.Connection, parsed: tuple[Any, list[str]]
) -> None:
    manifest, _ = parsed
    for model in models(manifest):
        found = database.execute(
            "select attname, format_type(atttypid, null) from pg_attribute "
            "where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
            (f"{model.schema}.{model.name}",),
        ).fetchall()
        spelled = {"timestamptz": "timestamp with time zone"}
        promised = [
            (name, spelled.get(column.data_type, column.data_type))
            for name, column in model.columns.items()
        ]
        assert found == promised, model.name


def described(manifest: Any) -> dict[str, str]:
    """What the project says of each relation, column and function, by its name in the database."""
    described = {
        name: text
        for node in [*models(manifest), *seeds(manifest)]
        for name, text in [
            (f"{node.schema}.{node.name}", node.description),
            *(
                (f"{node.schema}.{node.name}.{column.name}", column.description)
                for column in node.columns.values()
            ),
        ]
    }
    for function in manifest.functions.values():
        parts = [
            function.description.strip(),
            *(
                f"{argument.name}: {argument.description.strip()}"
                for argument in function.arguments
            ),
            f"Returns: {function.returns.description.strip()}",
        ]
        described[f"{function.schema}.{function.name}"] = "\n".join(parts)
    return {name: text.strip() for name, text in described.items() if text.strip()}


def seeds(manifest: Any) -> list[Any]:
    return [node for node in manifest.nodes.values() if node.resource_type == "seed"]


COMMENTS = """
    select format('%s.%s', relnamespace::regnamespace, relname)
        || coalesce('.' || attname, ''), d.description
    from pg_class as c
    inner join pg_description as d on d.objoid = c.oid and d.classoid = 'pg_class'::regclass
    left join pg_attribute as a on a.attrelid = c.oid and a.attnum = d.objsubid and d.objsubid > 0
    where relnamespace in ('marts'::regnamespace, 'intermediate'::regnamespace)
    union all
    select format('marts.%s', proname), obj_description(oid, 'pg_proc')
    from pg_proc where pronamespace = 'marts'::regnamespace
"""


@pytest.mark.deep
def test_every_relation_column_and_function_bears_its_description_whatever_build_ran(
    database: psycopg.Connection, parsed: tuple[Any, list[str]]
) -> None:
    manifest, _ = parsed
    expected = described(manifest)
    assert "marts.analytics_daily.new_leads" in expected
    assert dict(database.execute(COMMENTS).fetchall()) == expected

    for changed in (
        "column marts.analytics_daily.new_leads is null",
        "table marts.analytics_daily is 'another'",
        "view marts.clients is null",
        "column marts.clients.name is 'another'",
        "function marts.get_daily_active_users is null",
    ):
        database.execute(f"comment on {changed}")
    today = datetime.now(UTC).date()
    # The first build is by dbt, which repairs them; the others are of what it stored.
    for options, runs_dbt in (
        (BuildOptions(), True),
        (BuildOptions(), False),
        (BuildOptions(start=today - timedelta(days=1), end=today), False),
        (BuildOptions(full_refresh=True), False),
    ):
        assert build(options).ran_dbt is runs_dbt
        assert dict(database.execute(COMMENTS).fetchall()) == expected


def test_the_intents_that_the_contract_accepts_are_those_of_the_tracking_plan(
    parsed: tuple[Any, list[str]],
) -> None:
    manifest, _ = parsed
    chats = manifest.nodes[f"model.{PROJECT_NAME}.int_chat_events"]
    (accepted,) = [
        constraint.expression
        for constraint in chats.constraints
        if constraint.name == "query_intent_is_in_the_plan"
    ]
    planned = tracking_plan().events["chat"].properties["query_intent"].one_of
    assert re.findall(r"'([^']*)'", accepted) == list(planned)


def test_the_properties_that_are_no_metadata_are_those_of_the_tracking_plan(
    parsed: tuple[Any, list[str]],
) -> None:
    manifest, _ = parsed
    macro = manifest.macros[f"macro.{PROJECT_NAME}.chat_properties"].macro_sql
    named = re.findall(r"'([^']*)'", macro)
    assert sorted(named) == sorted(tracking_plan().events["chat"].properties)


WITHOUT_A_COLUMN = {
    # No figure asks for them.
    ("contact_submitted", "form"),
    ("signup", "plan"),
    *((f"analytics.{event}", name)
      for event in ("dashboard_view", "filter_change", "export") for name in ("filter", "format")),
    # What people write is no figure.
    ("chat_feedback", "text"),
}  # fmt: skip


def test_every_property_of_the_plan_has_a_column(parsed: tuple[Any, list[str]]) -> None:
    manifest, _ = parsed
    views = [model for model in models(manifest) if "staging" in model.fqn]
    without = set()
    for event, planned in tracking_plan().events.items():
        (view,) = [view for view in views if f"'{event}'" in view.raw_code]
        # What leads do has its properties in one column, some in one of their own beside it.
        if "event_data" not in view.columns:
            without |= {(event, name) for name in planned.properties.keys() - view.columns.keys()}
    assert without == WITHOUT_A_COLUMN


def test_retention_waits_for_every_typed_fact(parsed: tuple[Any, list[str]]) -> None:
    manifest, _ = parsed
    facts = [m.name for m in models(manifest) if m.config.incremental_strategy == "append_new"]
    assert sorted(facts) == typed_facts()


def test_a_full_refresh_is_not_left_to_dbt_which_would_swap_the_table(
    parsed: tuple[Any, list[str]],
) -> None:
    manifest, _ = parsed
    assert "macro.warehouse.materialization_incremental_postgres" in manifest.macros


def test_the_project_ships_no_packages() -> None:
    assert not list(DBT_PROJECT.glob("packages.y*ml"))
    assert not list(DBT_PROJECT.glob("dependencies.y*ml"))
