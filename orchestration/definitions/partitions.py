"""Dagster's partitions, and which kind of period each model is partitioned by."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

import dagster as dg
import psycopg

from warehouse import database
from warehouse.settings import settings


class Period(StrEnum):
    """The periods that models are partitioned by, as `meta.period` of a model names them."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


# Small tables over all clients, in which an old event can change every later row.
UNPARTITIONED_FOLDERS = {"platform"}


def period_of(dbt_resource_props: Mapping[str, Any]) -> Period | None:
    """Return the period that a dbt resource is partitioned by, or None."""
    meta = dbt_resource_props.get("meta") or {}
    if "window_on" not in meta or UNPARTITIONED_FOLDERS & set(dbt_resource_props["fqn"]):
        return None
    return Period(meta.get("period", Period.DAY))


def first_of_period(day: date, period: Period) -> date:
    """Return the first day of the period that a day lies in; weeks start on Monday."""
    match period:
        case Period.DAY:
            return day
        case Period.WEEK:
            return day - timedelta(days=day.weekday())
        case Period.MONTH:
            return day.replace(day=1)


def partitions_from(first_day: date) -> dict[Period, dg.TimeWindowPartitionsDefinition]:
    """Return the partitions of each kind; the first one contains ``first_day``.

    Days start with the first week or month, because Dagster backfills no period with days missing.
    """
    first_days = {period: first_of_period(first_day, period) for period in Period}
    first_days[Period.DAY] = min(first_days.values())
    first = {period: day.isoformat() for period, day in first_days.items()}
    # `end_offset=1` adds the partition of the current period.
    return {
        Period.DAY: dg.DailyPartitionsDefinition(start_date=first[Period.DAY], end_offset=1),
        Period.WEEK: dg.WeeklyPartitionsDefinition(
            start_date=first[Period.WEEK], day_offset=1, end_offset=1
        ),
        Period.MONTH: dg.MonthlyPartitionsDefinition(start_date=first[Period.MONTH], end_offset=1),
    }


def first_partitioned_day() -> date:
    """Return a day in the first partition of each kind: that of the first event that has landed.

    The ledger holds it also when the event itself has expired. Without events it is today. A
    process that has loaded the definitions keeps its partitions: events that land later and are
    earlier get theirs when the definitions load again, as each run does.
    """
    if day := settings().partitions_start:
        return day
    with database.connect_as_builder(application_name="warehouse dagster") as connection:
        try:
            row = connection.execute(
                "select (min(min_timestamp) at time zone 'utc')::date from staging.event_batches"
            ).fetchone()
        except psycopg.Error as error:
            if error.sqlstate not in database.NOT_SET_UP:
                raise
            row = None
    return (row and row[0]) or datetime.now(UTC).date()


def key_of(day: date) -> str:
    """Return the key of the partition that starts on a day."""
    return day.isoformat()
