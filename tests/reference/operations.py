"""What the marts and functions of operations hold, computed slowly and plainly from the contract.

Written to be checked against the contract by reading; it imports nothing from the product.

Events are dicts as they came (`event`, `event_id` in lower case, `timestamp`, `actor`, `context`,
`properties`), accepted ones alone, each (client_id, event_id, timestamp) once. Users are the
entities as they stand now, as in `tests.reference.ai_usage`. `used` are the sequence numbers of
the lines that were suppressed, duplicates or rejected: (producer, number, day), as often as they
came. `as_of` knows its time zone.

Rows are dicts with the contract's columns, without `updated_at`. Whole numbers are int, others
Decimal, times datetime in UTC, days date, jsonb dicts. The order of rows means nothing, but for
`get_conversion_funnel`.

Rows of `alert_history` have neither `alert_id` nor `title` nor `message`, which the contract leaves
open, and nothing that people did by hand; two of them may be equal.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.reference.ai_usage import (
    as_decimal,
    chat_events,
    exact,
    grouped,
    mean,
    pct2,
    percentile,
    rounded,
    rounded_whole,
)
from tests.reference.clients import (
    FUNNEL_STEPS,
    PLATFORM,
    VALUED_EVENTS,
    has_ended,
    midnight,
    month_after,
    month_of,
    pct,
    start_of,
)
from tests.reference.intake import instant

Event = dict[str, Any]
Entity = dict[str, Any]
Row = dict[str, Any]
Use = tuple[str, int, date]

DAY = timedelta(hours=24)
FIVE_MINUTES = timedelta(minutes=5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_ERROR_STATUS = 400
FEWEST_CALLS = 20
# An error rate above so many percent, and what it makes of an alert; from the worst down.
SEVERITIES = ((50, "critical"), (20, "high"), (5, "medium"))
# The limits of a user, and what a chat adds to what is held against each.
LIMITS: dict[str, Callable[[Row], Fraction]] = {
    "monthly_message_limit": lambda chat: Fraction(1),
    "monthly_token_limit": lambda chat: Fraction(chat["tokens_total"]),
    "monthly_cost_limit": lambda chat: Fraction(chat["cost_total"]),
}
# Percent of a limit, and the alert's type and severity.
THRESHOLDS = ((80, "warning", "medium"), (100, "error", "high"))
# Who has one of these pays. An upgrade does not make a user one that converted.
PAYMENTS = ("subscription", "upgrade", "purchase")
CONVERTING_PAYMENTS = ("subscription", "purchase")
REFUND = "refund"
PERIODS = {"1h": timedelta(hours=1), "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}


@dataclass(frozen=True)
class Record:
    """An event that is seen: ids None where unknown, members less those that are null."""

    name: str
    at: datetime
    event_id: str
    client_id: str
    user_id: str | None
    lead_id: str | None
    context: dict[str, Any]
    properties: dict[str, Any]

    @property
    def day(self) -> date:
        return self.at.date()

    @property
    def hour(self) -> datetime:
        return self.at.replace(minute=0, second=0, microsecond=0)

    @property
    def session(self) -> tuple[str, str] | None:
        """The producer's session, whose id belongs to its client; None without."""
        session_id = self.context.get("session_id") or None
        return None if session_id is None else (self.client_id, session_id)

    def number(self, name: str) -> Fraction:
        """Return a property that is a number, exactly as it is written; 0 where it is absent."""
        return exact(self.properties.get(name, 0))

    @property
    def is_failed_call(self) -> bool:
        return self.name == "api_request" and self.number("status_code") >= FIRST_ERROR_STATUS


def all_marts(
    events: list[Event], users: list[Entity], used: list[Use], as_of: datetime
) -> dict[str, list[Row]]:
    """Return the rows of every mart of the section that comes from events, by its name."""
    return {
        "api_performance_hourly": api_performance_hourly(events, as_of),
        "api_performance_daily": api_performance_daily(events, as_of),
        "api_errors": api_errors(events, as_of),
        "system_metrics_hourly": system_metrics_hourly(events, as_of),
        "alert_history": alert_history(events, users, as_of),
        "ingest_loss_daily": ingest_loss_daily(events, used, as_of),
        "dashboard_summary": dashboard_summary(events, as_of),
    }


def visible_in_order(events: Iterable[Event], as_of: datetime) -> list[Record]:
    """Return the events before `as_of`, by time and then by id as a UUID.

    Where two clients' events share both, the client id that is greater by code point is later.
    """
    seen = [_record(event) for event in events]
    return sorted(
        (record for record in seen if record.at < as_of),
        key=lambda record: (record.at, uuid.UUID(record.event_id), record.client_id),
    )


def _record(event: Event) -> Record:
    actor = event["actor"]
    return Record(
        name=event["event"],
        at=instant(event["timestamp"]),
        event_id=event["event_id"],
        client_id=actor["client_id"],
        # An empty string in the actor counts as absent, elsewhere it is a value.
        user_id=actor.get("user_id") or None,
        lead_id=actor.get("lead_id") or None,
        context=_given(event.get("context")),
        properties=_given(event.get("properties")),
    )


def _given(members: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (members or {}).items() if value is not None}


def named(records: Iterable[Record], name: str) -> list[Record]:
    """Return the events of one kind."""
    return [record for record in records if record.name == name]


def users_of(records: Iterable[Record]) -> set[str]:
    """Return the users that are known, each once under however many clients."""
    return {record.user_id for record in records if record.user_id is not None}


def api_performance_hourly(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per endpoint, method and hour with a call."""
    return _api_performance(events, as_of, "hour", lambda call: call.hour)


def api_performance_daily(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per endpoint, method and day with a call."""
    return _api_performance(events, as_of, "date", lambda call: call.day)


def _api_performance(
    events: list[Event], as_of: datetime, column: str, period_of: Callable[[Record], Hashable]
) -> list[Row]:
    calls = named(visible_in_order(events, as_of), "api_request")
    cells = grouped(
        calls,
        lambda call: (call.properties["endpoint"], call.properties["method"], period_of(call)),
    )
    rows = []
    for (endpoint, method, period), of_cell in cells.items():
        row: Row = {"endpoint": endpoint, "method": method, column: period}
        row["total_calls"] = len(of_cell)
        row["error_calls"] = sum(call.is_failed_call for call in of_cell)
        row |= _call_rates(of_cell)
        times = [call.number("response_time_ms") for call in of_cell]
        for percent in (50, 95, 99):
            row[f"p{percent}_response_time_ms"] = rounded_whole(
                percentile(times, Fraction(percent, 100))
            )
        rows.append(row)
    return rows


def _call_rates(calls: list[Record]) -> Row:
    errors = sum(call.is_failed_call for call in calls)
    return {
        "error_rate": pct2(errors, len(calls)),
        "success_rate": pct2(len(calls) - errors, len(calls)),
        "avg_response_time_ms": rounded_whole(
            mean([call.number("response_time_ms") for call in calls])
        ),
    }


def api_errors(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per failed call."""
    return [
        {
            "client_id": call.client_id,
            "event_id": call.event_id,
            "created_at": call.at,
            "endpoint": call.properties["endpoint"],
            "method": call.properties["method"],
            "status_code": int(call.number("status_code")),
            "error_message": call.properties.get("error_message"),
            "response_time_ms": as_decimal(call.number("response_time_ms")),
            "user_id": call.user_id,
        }
        for call in visible_in_order(events, as_of)
        if call.is_failed_call
    ]


def system_metrics_hourly(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per server, type of metric and hour with a reading, under whatever client."""
    readings = named(visible_in_order(events, as_of), "system_metric")
    cells = grouped(
        readings,
        lambda reading: (
            reading.properties["server_id"],
            reading.properties["metric_type"],
            reading.hour,
        ),
    )
    rows = []
    for (server_id, metric_type, hour), of_cell in cells.items():
        values = [reading.number("metric_value") for reading in of_cell]
        rows.append(
            {
                "server_id": server_id,
                "metric_type": metric_type,
                "hour": hour,
                "latest": as_decimal(values[-1]),
                "average": rounded(mean(values), 2),
                "minimum": as_decimal(min(values)),
                "maximum": as_decimal(max(values)),
                "readings": len(values),
            }
        )
    return rows


def alert_history(events: list[Event], users: list[Entity], as_of: datetime) -> list[Row]:
    """One row per alert, as if nobody had touched any."""
    return [*error_alerts(events, as_of), *usage_alerts(events, users, as_of)]


def error_alerts(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per stretch of windows next to each other in which too many calls failed."""
    calls = named(visible_in_order(events, as_of), "api_request")
    windows = grouped(calls, lambda call: window_of(call.at))
    bad = {
        start: rank
        for start, of_window in windows.items()
        if start + FIVE_MINUTES <= as_of and (rank := severity_rank(of_window)) is not None
    }
    rows = []
    for first in sorted(bad):
        if first - FIVE_MINUTES in bad:
            continue
        stretch = [first]
        while stretch[-1] + FIVE_MINUTES in bad:
            stretch.append(stretch[-1] + FIVE_MINUTES)
        # The first window that is not bad is here, once it is complete, whatever it holds.
        next_window = stretch[-1] + FIVE_MINUTES
        is_resolved = next_window + FIVE_MINUTES <= as_of
        rows.append(
            {
                "alert_type": "warning",
                "severity": SEVERITIES[min(bad[start] for start in stretch)][1],
                "category": "performance",
                "resolved": is_resolved,
                "acknowledged_by": None,
                "acknowledged_at": None,
                "resolved_by": None,
                "resolved_at": next_window if is_resolved else None,
                "created_at": first,
            }
        )
    return rows


def window_of(at: datetime) -> datetime:
    """Return the start of the clock's five minutes that hold this moment."""
    return at - (at - EPOCH) % FIVE_MINUTES


def severity_rank(calls: list[Record]) -> int | None:
    """Return how bad a window's calls are, as a place in SEVERITIES; None where they are not."""
    if len(calls) < FEWEST_CALLS:
        return None
    error_rate = Fraction(100 * sum(call.is_failed_call for call in calls), len(calls))
    for rank, (bound, _) in enumerate(SEVERITIES):
        if error_rate > bound:
            return rank
    return None


def usage_alerts(events: list[Event], users: list[Entity], as_of: datetime) -> list[Row]:
    """One row per user, month and threshold that any of the user's limits has come to."""
    rows = []
    limits_of = {
        user["user_id"]: {name: exact(user[name]) for name in LIMITS if user.get(name) is not None}
        for user in users
        # An entity says nothing before it was created.
        if instant(user["created_at"]) < as_of
    }
    chats = [chat for chat in chat_events(events, as_of) if chat["user_id"] is not None]
    months = grouped(chats, lambda chat: (chat["user_id"], month_of(chat["created_at"].date())))
    for (user_id, month), of_month in months.items():
        is_over = has_ended(month, as_of)
        for percent, alert_type, severity in THRESHOLDS:
            created_at = reached_at(of_month, limits_of.get(user_id, {}), percent)
            if created_at is None:
                continue
            rows.append(
                {
                    "alert_type": alert_type,
                    "severity": severity,
                    "category": "usage",
                    "resolved": is_over,
                    "acknowledged_by": None,
                    "acknowledged_at": None,
                    "resolved_by": None,
                    "resolved_at": start_of(month_after(month, 1)) if is_over else None,
                    "created_at": created_at,
                }
            )
    return rows


def reached_at(chats: list[Row], limits: dict[str, Fraction], percent: int) -> datetime | None:
    """Return when a month's chats, in order, came to this much of the first of the limits."""
    used = dict.fromkeys(LIMITS, Fraction(0))
    for chat in chats:
        for name, adds in LIMITS.items():
            used[name] += adds(chat)
        if any(used[name] >= limit * percent / 100 for name, limit in limits.items()):
            return chat["created_at"]
    return None


def ingest_loss_daily(events: list[Event], used: list[Use], as_of: datetime) -> list[Row]:
    """One row per producer and day on which a number of it was first seen."""
    uses = [
        (record.context["producer"], int(exact(record.context["sequence"])), record.day)
        for record in visible_in_order(events, as_of)
        if "producer" in record.context and "sequence" in record.context
    ]
    # By producer, number and day, what an event with that number says was dropped.
    said: Counter[Use] = Counter()
    for record in visible_in_order(events, as_of):
        if "producer" in record.context and "sequence" in record.context:
            number = int(exact(record.context["sequence"]))
            use = (record.context["producer"], number, record.day)
            said[use] = max(said[use], int(exact(record.context.get("dropped", 0))))
    # Only the day is known of the others: they count from its first instant on.
    uses.extend(use for use in used if midnight(use[2]) < as_of)

    # By what stands before the slash, and day.
    totals: dict[tuple[str, date], Counter[str]] = defaultdict(Counter)
    for producer, of_producer in grouped(uses, lambda use: use[0]).items():
        site = producer.split("/")[0]
        day_of = {
            number: min(day for _, _, day in sightings)
            for number, sightings in grouped(of_producer, lambda use: use[1]).items()
        }
        number_before = None
        for number in sorted(day_of):
            total = totals[site, day_of[number]]
            total["seen"] += 1
            total["dropped"] += said[producer, number, day_of[number]]
            if number_before is not None:
                total["missing"] += number - number_before - 1
            number_before = number
    return [
        {
            "producer": site,
            "date": day,
            "events_seen": total["seen"],
            "gaps": total["missing"],
            "dropped": total["dropped"],
            "loss_percent": pct2(total["missing"], total["seen"] + total["missing"]),
        }
        for (site, day), total in totals.items()
    ]


def dashboard_summary(events: list[Event], as_of: datetime) -> list[Row]:
    """Four rows, one per period before `as_of`."""
    seen = visible_in_order(events, as_of)
    rows = []
    for period, length in PERIODS.items():
        of_period = [record for record in seen if record.at >= as_of - length]
        calls = named(of_period, "api_request")
        payments = named(of_period, "revenue")
        types = Counter(payment.properties["type"] for payment in payments)
        users = users_of(of_period)
        revenue = revenue_of(payments)
        paying = paying_users(payments)
        row: Row = {
            "period": period,
            "users": len(users),
            "events": len(of_period),
            "event_types": dict(Counter(record.name for record in of_period)),
            "events_per_user": rounded(share(Fraction(len(of_period)), len(users)), 2),
            "api_calls": len(calls),
        }
        row |= _call_rates(calls)
        row |= {
            "revenue_usd": as_decimal(revenue),
            "subscriptions": types["subscription"],
            "upgrades": types["upgrade"],
            "average_revenue_per_user_usd": rounded(share(revenue, len(paying)), 6),
            "cpu_usage": latest_metric(of_period, "cpu_usage"),
            "memory_usage": latest_metric(of_period, "memory_usage"),
            "uptime_percent": uptime_percent(seen, as_of - length, as_of),
        }
        rows.append(row)
    return rows


def revenue_of(payments: Iterable[Record]) -> Fraction:
    """Return what came in less what was given back, in USD."""
    return sum((signed_amount(payment) for payment in payments), Fraction(0))


def signed_amount(payment: Record) -> Fraction:
    """Return a payment's amount in USD, a refund's below 0."""
    amount = payment.number("amount_usd")
    return -amount if payment.properties["type"] == REFUND else amount


def paying_users(payments: Iterable[Record]) -> set[str]:
    """Return the users who paid for anything."""
    return users_of(payment for payment in payments if payment.properties["type"] in PAYMENTS)


def share(amount: Fraction, among: int) -> Fraction | None:
    """Return the exact amount per one; None among none."""
    return None if among == 0 else amount / among


def latest_metric(records: Iterable[Record], metric_type: str) -> Decimal | None:
    """Return the last reading of this type, of any server; None without one."""
    readings = [
        record
        for record in named(records, "system_metric")
        if record.properties["metric_type"] == metric_type
    ]
    return as_decimal(readings[-1].number("metric_value")) if readings else None


def uptime_percent(seen: list[Record], start: datetime, as_of: datetime) -> Decimal | None:
    """Return the share of the period's windows with a reading of any kind.

    Windows that lie wholly in the period, none before the one with the first reading ever.
    """
    with_a_reading = {window_of(record.at) for record in named(seen, "system_metric")}
    if not with_a_reading:
        return None
    windows = []
    window = max(window_of(start), min(with_a_reading))
    while window + FIVE_MINUTES <= as_of:
        if window >= start:
            windows.append(window)
        window += FIVE_MINUTES
    return pct2(sum(window in with_a_reading for window in windows), len(windows))


def calculate_user_engagement(
    events: list[Event], as_of: datetime, user_id: str | None, days: int = 30
) -> int:
    """Return two points for each of the user's events and five for each session, at most 100."""
    records = [
        record
        for record in visible_in_order(events, as_of)
        if record.at >= as_of - days * DAY
        and record.user_id is not None
        and record.user_id == user_id
    ]
    sessions = {record.session for record in records if record.session is not None}
    return min(100, 2 * len(records) + 5 * len(sessions))


def get_daily_active_users(
    events: list[Event], as_of: datetime, target_date: date | None = None
) -> int:
    """Return how many users had any event on the day, by default that of `as_of`."""
    day = as_of.astimezone(UTC).date() if target_date is None else target_date
    seen = visible_in_order(events, as_of)
    return len(users_of(record for record in seen if record.day == day))


def calculate_conversion_rate(
    events: list[Event], as_of: datetime, days: int = 30
) -> Decimal | None:
    """Return the share of the users of the days before `as_of` who paid in them."""
    return conversion_rate_between(visible_in_order(events, as_of), as_of - days * DAY, as_of)


def conversion_rate_between(seen: list[Record], start: datetime, end: datetime) -> Decimal | None:
    """Return, in percent, who of the users with any event subscribed or purchased something."""
    records = [record for record in seen if start <= record.at < end]
    converted = users_of(
        payment
        for payment in named(records, "revenue")
        if payment.properties["type"] in CONVERTING_PAYMENTS
    )
    return pct2(len(converted), len(users_of(records)))


def get_conversion_funnel(
    events: list[Event], as_of: datetime, client_id: str, start_date: date, end_date: date
) -> list[Row]:
    """Return six rows, in order, over the days from the first to the last, both included.

    The platform is no client, and has no funnel.
    """
    of_client = [
        record
        for record in visible_in_order(events, as_of)
        if record.client_id == client_id != PLATFORM and start_date <= record.day <= end_date
    ]
    rows = []
    leads_before = None
    for stage in FUNNEL_STEPS:
        of_stage = named(of_client, stage)
        leads = len({record.lead_id for record in of_stage})
        # Only where the plan gives the event a value; elsewhere it may be anything.
        valued = of_stage if stage in VALUED_EVENTS else []
        rows.append(
            {
                "stage": stage,
                "leads": leads,
                "value_cents": int(sum(record.number("value_cents") for record in valued)),
                # The first stage is measured against itself.
                "conversion_rate": pct(leads, leads if leads_before is None else leads_before),
            }
        )
        leads_before = leads
    return rows
