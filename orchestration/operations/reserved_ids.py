"""Words that can be no identifier, because the warehouse writes them into everybody's rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

import msgspec
import psycopg

from ingestion.contract.consent import BROWSER_SOURCES
from ingestion.contract.line import Reason
from ingestion.contract.tracking_plan import Member, tracking_plan
from ingestion.load import ledger
from ingestion.load.entities import SHAPES
from ingestion.privacy.name_forms import ERASED
from ingestion.sources.files import SourceError
from ingestion.sources.postgres.declared import declared_sources
from orchestration.operations.build import DBT_PROJECT
from warehouse.sql_files import read_sql

# Words that are neither in the tracking plan nor in entities nor in the database's catalogue, by
# what writes them. A test builds a warehouse and requires that every short text of a row that came
# from no line is reserved.
_WRITTEN_BY: dict[str, tuple[str, ...]] = {
    "in place of what is absent": ("_platform", "none", "unknown", "null", "infinity"),
    "where lines come from": ("api", "demo", "erase", "replay"),
    "states of loads, builds, exports and receipts": (
        "running", "finished", "failed", "abandoned", "done", "refused", "begun", "removed",
        "verified",
    ),
    "checks": (
        "dbt", "great_expectations", "error", "warn", "warned", "passed", "constraints only",
    ),
    "targets of exports": ("warehouse", "export"),
    "events of the warehouse": (
        "load_done", "load_failed", "build_done", "build_failed", "export_done", "export_refused",
        "run_failed", "run_recovered", "check_failed", "check_recovered", "file_quarantined",
    ),
    "causes of restatements": ("late events", "entity change", "rebuild", "expiry"),
    "access to marts": (
        "staging", "intermediate", "marts", "analysts", "builders", "client", "client_and_user",
        "user", "shared",
    ),
    "alerts": (
        "info", "warning", "low", "medium", "high", "critical", "performance", "usage",
        "acknowledged", "resolved", "API errors", "system",
    ),
    "limits of users": ("normal", "approaching", "limit_reached"),
    "metrics": (
        "mrr", "daily_revenue", "daily_active_users", "conversion_rate", "USD", "percent", "count",
    ),
    "response times": ("Under 1 min", "1-5 min", "5-15 min", "15-60 min", "Over 1 hour"),
    "steps and sources of traffic": (
        "visit", "engaged", "converted", "direct", "referral", "organic", "social", "other",
    ),
    "periods of the dashboard": ("1h", "24h", "7d", "30d"),
    "members of JSON in marts": ("section", "count", "detail"),
}  # fmt: skip
# Marts hold months and days as text.
_is_period = re.compile(r"\d{4}-\d\d(-\d\d)?").fullmatch


def is_reserved(identifier: str) -> bool:
    """Return whether rows of everybody may hold this word."""
    return identifier in reserved_ids() or bool(_is_period(identifier))


@cache
def reserved_ids() -> frozenset[str]:
    """Return the words of the tracking plan, of entities and of seeds, and those declared here."""
    plan = tracking_plan()
    words = {ledger.EVENTS, ledger.ERASURE, ERASED.decode(), *plan.events, *BROWSER_SOURCES}
    words.update(word for group in _WRITTEN_BY.values() for word in group)
    for members in (plan.actor, plan.context, *(e.properties for e in plan.events.values())):
        words.update(_of_members(members))
    for kind, shape in SHAPES.items():
        words.update((kind.value, *_of_shape(shape)))
    words.update(reason.value for reason in Reason)
    words.update(_of_sources())
    for file in DBT_PROJECT.glob("seeds/*.csv"):
        for row in csv.DictReader(file.read_text("utf-8").splitlines()):
            words.update(row[column] for column in ("site", "medium") if row.get(column))
    return frozenset(words)


def names_in_rows(connection: psycopg.Connection) -> set[str]:
    """Return the names of tables, columns, functions, checks and jobs that rows may hold."""
    return {name for (name,) in connection.execute(read_sql(__file__, "names_in_rows"))}


def _of_sources() -> Iterator[str]:
    """Yield the names by which the ledger knows what was pulled."""
    # A folder of sources that can't be read says so when something is pulled.
    with suppress(SourceError):
        for source, folder in declared_sources().items():
            yield source
            for file in folder.glob("*.sql"):
                yield from (file.stem, f"{source}/{file.stem}")


def _of_members(members: dict[str, Member]) -> Iterator[str]:
    for name, member in members.items():
        yield name
        yield from member.one_of or ()
        yield from _of_members(member.members)


def _of_shape(shape: type[msgspec.Struct]) -> Iterator[str]:
    """Yield the columns of an entity, and the allowed values of those with a closed set."""
    for field in msgspec.structs.fields(shape):
        yield field.name
    for field in msgspec.inspect.type_info(shape).fields:
        for one in getattr(field.type, "types", (field.type,)):
            yield from getattr(one, "values", ())
