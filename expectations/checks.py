"""Runs the suites of Great Expectations and records the results.

The suites in ``suites/`` are in Great Expectations' own JSON. A suite on events or on the ledger
checks a window: the batches after the last run in which all of its checks passed. So a failed
window is checked again until it passes, and a check that is new in a suite checks all batches.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psycopg

from expectations import pages
from expectations.pages import Run
from ingestion.contract.tracking_plan import tracking_plan
from warehouse import database, locks, private_files
from warehouse.errors import WarehouseError
from warehouse.locks import Lock
from warehouse.settings import settings
from warehouse.sql_files import read_sql

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.data_context import EphemeralDataContext
    from great_expectations.datasource.fluent import PostgresDatasource

    Severity = Literal["error", "warn"]

# Great Expectations sends no usage data. It reads this variable when it is imported.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

SUITES_DIR = Path(__file__).parent / "suites"
# The rows that each suite checks, in the order of the data flow. A window is the batches with
# after < batch_seq <= upto. With an array of batches the server uses the index on them even before
# it has gathered statistics.
# Great Expectations takes only queries that begin with `select`.
ROWS = {
    name: read_sql(__file__, name)
    for name in (
        "event_batches",
        "raw_events",
        "platform_stats",
        "landed_volume",
        "staging_columns",
    )
}
# Suites on tables of the builder. Reading them may run its code: see database.connect_as_builder.
BUILDER_SUITES = {"platform_stats"}
# Suites that check a window of batches.
WINDOWED_SUITES = {name for name, rows in ROWS.items() if "%(after)s" in rows}
SEVERITIES: dict[str, Severity] = {"critical": "error", "warning": "warn", "info": "warn"}
# How much a check that could not be evaluated quotes of the server's message. The suites' queries
# cast no values, so such a message names columns and types, never the values of a row.
LONGEST_REASON = 200
# How long results are kept. The latest one of each check stays.
RESULT_DAYS = 90
# A sentence lists no more column names than this.
MOST_SHOWN = 20


class CheckError(WarehouseError):
    """The checks could not run. The message says what to do first."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check. It holds counts and names of columns, never values of rows.

    ``failures`` counts the rows that fail the check (1 where the table as a whole fails), and is
    None where it could not be evaluated. ``query`` selects these rows, or else all rows checked.
    """

    check_name: str
    model: str
    severity: Severity
    passed: bool
    failures: int | None
    detail: str
    query: str


@dataclass(frozen=True, slots=True)
class _Window:
    """The query of a suite's rows, and the batch and ``as_of`` up to which its result is valid.

    ``name`` says in words what is checked; a page is named after it.
    """

    name: str
    rows: str
    batch_seq: int
    as_of: datetime | None


def run_checks(*, docs: bool = False, suites: Sequence[str] | None = None) -> list[CheckResult]:
    """Run the suites (all of them by default) and record a row per check, in one transaction.

    With ``docs`` the Data Docs of these suites are written anew, with the results. Raises
    CheckError for an unknown suite and where the candidate of the marketing row was never built,
    locks.LockError for others than the owner, and database.DatabaseError; then nothing is recorded.
    """
    names = [name for name in ROWS if suites is None or name in suites]
    if unknown := set(suites or ()) - set(names):
        raise CheckError(f"No such suite: {', '.join(sorted(unknown))}. Known: {', '.join(ROWS)}.")
    results: list[CheckResult] = []
    with (
        # One run at a time, so that a slow run does not record an older window as the latest
        # result. Only the owner may take the lock: without its permissions, checks would fail.
        locks.held(Lock.CHECKS),
        database.connect(autocommit=True, application_name="warehouse check") as connection,
    ):
        windows = {name: _window(connection, name) for name in names}
        with _great_expectations(docs=docs) as (context, owners, builders):
            runs = []
            for name, window in windows.items():
                source = builders if name in BUILDER_SUITES else owners
                suite, at = load_suite(name), datetime.now(UTC)
                found = _validate(context, source, suite, window, at)
                passed = [result.passed for result in found]
                runs.append(pages.run_of(window.name, name, suite.meta["model"], passed, at))
                results += found
            if docs:
                _write_docs(context, docs_page(*suites or ()).parent, runs)
        _record(connection, results, windows)
    return results


def forget_old_results(connection: psycopg.Connection) -> int:
    """Delete results older than RESULT_DAYS, but the latest of each check; return how many."""
    return connection.execute(
        "delete from warehouse.check_results as r "
        "where r.checked_at < now() - make_interval(days => %s) and exists ("
        "select 1 from warehouse.check_results as later "
        "where later.check_name = r.check_name and later.checked_at > r.checked_at)",
        (RESULT_DAYS,),
    ).rowcount


def docs_page(*suites: str) -> Path:
    """Return the first page of the Data Docs of suites that run together (by default all)."""
    return settings().data_docs / ("-".join(suites) or "all") / "index.html"


def load_suite(name: str) -> ExpectationSuite:
    """Read a suite's file. Raises CheckError where it holds an expectation that does not exist."""
    from great_expectations import ExpectationSuite

    content = suite_content(name)
    suite = ExpectationSuite(**content)
    # Great Expectations logs and leaves out unknown types: a check would vanish unnoticed.
    if len(suite.expectations) != len(content["expectations"]):
        raise CheckError(f"Great Expectations does not know every expectation of {name}.json.")
    for expectation in suite.expectations:
        expectation.description = expectation.meta["sentence"]
    return suite


def suite_content(name: str) -> dict[str, Any]:
    """Return the content of a suite's file."""
    return json.loads((SUITES_DIR / f"{name}.json").read_bytes())


def _check_name(suite: str, meta: dict[str, str]) -> str:
    return f"{suite}.{meta['check']}"


def _window(connection: psycopg.Connection, name: str) -> _Window:
    if name == "platform_stats":
        return _candidate(connection)
    if name in WINDOWED_SUITES:
        return _new_batches(connection, name)
    row = connection.execute("select max(batch_seq) from staging.event_batches").fetchone()
    batch_seq = (row and row[0]) or 0
    return _Window(f"as of batch {batch_seq}", ROWS[name], batch_seq, None)


def _candidate(connection: psycopg.Connection) -> _Window:
    # Read before the table: if a build runs in between, the result counts for the older row.
    built = connection.execute(
        "select batch_seq, nullif(as_of, 'infinity') from warehouse.model_offsets "
        "where model = 'int_platform_stats' "
        "and to_regclass('intermediate.int_platform_stats') is not null"
    ).fetchone()
    if built is None:
        raise CheckError(
            "There is no candidate of the marketing row (intermediate.int_platform_stats) yet. Run "
            "`warehouse build` first."
        )
    return _Window(f"row of batch {built[0]}", ROWS["platform_stats"], *built)


def _new_batches(connection: psycopg.Connection, name: str) -> _Window:
    checks = [_check_name(name, one["meta"]) for one in suite_content(name)["expectations"]]
    # One transaction records all results of a run, so they share one checked_at.
    bounds = {
        "after": read_sql(__file__, "last_passed_batch"),
        "upto": "select max(batch_seq) from staging.event_batches",
    }
    parameters = {"first": checks[0], "checks": checks, "number": len(checks)}
    found = {}
    for bound, query in bounds.items():
        row = connection.execute(query, parameters).fetchone()
        found[bound] = (row and row[0]) or 0
    after, upto = found["after"], found["upto"]
    words = f"batches {after + 1} to {upto}" if after < upto else f"no batch after {upto}"
    return _Window(words, ROWS[name] % found, upto, None)


@contextmanager
def _great_expectations(
    *, docs: bool
) -> Iterator[tuple[EphemeralDataContext, PostgresDatasource, PostgresDatasource]]:
    """Give an in-memory context (only the site is files), and the owner's and builder's sources."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(_new_docs()),
        },
    }
    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            data_docs_sites={"warehouse": site} if docs else {},
        ),
    )
    # Raises DatabaseError where the builder's URL is not safe to use.
    database.connect_as_builder(application_name="warehouse check").close()
    sources = [
        context.data_sources.add_postgres(
            name,
            connection_string=database.sqlalchemy_url(of_url=url),
            # Otherwise it would fetch all rows to learn the names of the columns.
            create_temp_table=True,
            kwargs={"connect_args": {"application_name": "warehouse check"}},
        )
        for name, url in [("warehouse", database.url()), ("builders", database.builder_url())]
    ]
    try:
        yield context, *sources
    finally:
        for source in sources:
            source.get_engine().dispose()


def _validate(
    context: EphemeralDataContext,
    source: PostgresDatasource,
    suite: ExpectationSuite,
    window: _Window,
    at: datetime,
) -> list[CheckResult]:
    """Validate a suite on its window; return the results in the order of its file."""
    from great_expectations import RunIdentifier, ValidationDefinition

    asset = source.add_query_asset(suite.name, query=window.rows)
    validation = context.validation_definitions.add(
        ValidationDefinition(
            name=suite.name,
            data=asset.add_batch_definition_whole_table("window"),
            suite=context.suites.add(suite),
        )
    )
    outcome = validation.run(
        result_format={
            "result_format": "BASIC",
            "exclude_unexpected_values": True,
            "return_unexpected_index_query": True,
            "unexpected_index_column_names": suite.meta["key"],
        },
        expectation_parameters={"planned_events": list(tracking_plan().events)},
        run_id=RunIdentifier(run_name=window.name, run_time=at),
    )
    found = {one.expectation_config.meta["check"]: one for one in outcome.results}
    return [_result(suite, found[one.meta["check"]], window) for one in suite.expectations]


def _result(
    suite: ExpectationSuite, outcome: ExpectationValidationResult, window: _Window
) -> CheckResult:
    config = outcome.expectation_config
    failures, observed = _findings(outcome)
    return CheckResult(
        check_name=_check_name(suite.name, config.meta),
        model=suite.meta["model"],
        severity=SEVERITIES[config.severity.value],
        passed=bool(outcome.success),
        failures=failures,
        detail=f"{config.meta['sentence']} {observed}",
        query=_query(outcome, window),
    )


def _findings(outcome: ExpectationValidationResult) -> tuple[int | None, str]:
    """Return the number of failures and a sentence on what was observed."""
    result = outcome.result
    if reason := _exception(outcome):
        return None, f"It could not be evaluated: {reason}"
    if "element_count" in result:
        # None for an empty window.
        failures = result["unexpected_count"] or 0
        return failures, f"Failing rows: {failures:,} of {result['element_count']:,}."
    observed = result["observed_value"]
    if outcome.expectation_config.type == "unexpected_rows_expectation":
        return observed, f"Failing rows: {observed:,}."
    if isinstance(observed, list):
        shown = f"{len(observed)} values" if len(observed) > MOST_SHOWN else ", ".join(observed)
    else:
        shown = observed
    return int(not outcome.success), f"Found: {shown}."


def _exception(outcome: ExpectationValidationResult) -> str | None:
    """Return the first line of what was raised: by the expectation, or by one of its metrics."""
    info = outcome.exception_info or {}
    for one in [info] if "raised_exception" in info else info.values():
        if one["raised_exception"]:
            return one["exception_message"].partition("\n")[0][:LONGEST_REASON]
    return None


def _query(outcome: ExpectationValidationResult, window: _Window) -> str:
    """Return SQL that selects the rows that fail the check, or else all rows that it checked."""
    of_rows = outcome.expectation_config.kwargs.get("unexpected_rows_query", "")
    of_column = outcome.result.get("unexpected_index_query", "")
    breaking = of_rows.format(batch="batch") or re.sub(r"\bgx_temp_\w+", "batch", of_column)
    if not breaking:
        return window.rows
    return f"with batch as (\n{window.rows}\n)\n{breaking}"


def _record(
    connection: psycopg.Connection, results: list[CheckResult], windows: dict[str, _Window]
) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            # now() is the same in the whole transaction, and so for all results of a run.
            "insert into warehouse.check_results (check_name, checked_at, source, model, severity, "
            "passed, failures, detail, batch_seq, as_of) "
            "values (%s, now(), 'great_expectations', %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    result.check_name, result.model, result.severity, result.passed,
                    result.failures, result.detail, window.batch_seq, window.as_of,
                )
                for result in results
                for window in [windows[result.check_name.partition(".")[0]]]
            ],
        )  # fmt: skip


def _new_docs() -> Path:
    """Return the folder in which the site is written before it replaces the last one."""
    return settings().data_docs.with_suffix(".new").absolute()


def _write_docs(context: EphemeralDataContext, site: Path, runs: Sequence[Run]) -> None:
    made = _new_docs()
    shutil.rmtree(made, ignore_errors=True)
    context.build_data_docs()
    pages.finish(made, runs)
    # Great Expectations copies its style sheets with the permissions that the package has.
    private_files.make_private(made)
    private_files.make_folder(site.parent)
    shutil.rmtree(site, ignore_errors=True)
    made.rename(site)
    pages.write_overview(site.parent)
