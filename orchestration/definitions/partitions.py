"""Dagster's partitions, and which kind of period each model is partitioned by."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

import dagster as dg

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


PARTITIONS = partitions_from(settings().partitions_start)


def key_of(day: date) -> str:
    """Return the key of the partition that starts on a day."""
    return day.isoformat()
