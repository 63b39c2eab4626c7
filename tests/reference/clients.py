"""What the clients' marts hold, computed as slowly and plainly as the contract describes it.

Written to be checked against the contract by reading; it imports nothing from the product.

Events are dicts as they came (`event`, `event_id` in lower case, `timestamp`, `actor`,
`properties`), accepted ones alone, each (client_id, event_id, timestamp) once. Clients and users
are the entities as they stand now, one dict for each key, their times written as in events, empty
CSV cells already absent. `as_of` knows its time zone.

Rows are dicts with the contract's columns, without `updated_at`. Whole numbers (counts, cents,
seconds, bp, pct, change) are int, numbers rounded to two places Decimal, times datetime in UTC,
days and weeks date, months text, jsonb dicts. The order of rows means nothing.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.reference.ai_usage import (
    exact,
    grouped,
    mean,
    pct2,
    percentile,
    rounded,
    rounded_whole,
)
from tests.reference.intake import instant

Event = dict[str, Any]
Entity = dict[str, Any]
Row = dict[str, Any]

PLATFORM = "_platform"
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
MICROSECOND = timedelta(microseconds=1)
NINETY_DAYS = timedelta(hours=90 * 24)
FIVE_MINUTES = 300

STAGES = ("new", "qualifying", "nurturing", "hot", "booked", "lost")
# The column that counts leads of a source; any other source goes to `leads_from_other`.
COLUMN_OF_SOURCE = {
    "missed_call": "leads_from_missed_calls",
    "web_form": "leads_from_web_forms",
    "referral": "leads_from_referrals",
}
OTHER = "other"

FUNNEL_EVENTS = (
    "lead_created",
    "first_response",
    "qualified",
    "appointment_booked",
    "quote_requested",
    "quote_sent",
    "quote_accepted",
    "job_won",
    "job_lost",
    "payment_received",
    "review_requested",
    "review_received",
)
FUNNEL_STEPS = (
    "lead_created",
    "first_response",
    "qualified",
    "appointment_booked",
    "quote_sent",
    "job_won",
)
# The events whose first time is in a lead's row.
TIMED_EVENTS = FUNNEL_EVENTS[: FUNNEL_EVENTS.index("payment_received")]
# The funnel events that the plan gives a value. What others call `value_cents` may be anything.
VALUED_EVENTS = ("quote_sent", "job_won", "payment_received")

# Seconds, the bound included.
BUCKETS = (
    ("Under 1 min", 60),
    ("1-5 min", FIVE_MINUTES),
    ("5-15 min", 900),
    ("15-60 min", 3600),
    ("Over 1 hour", None),
)
ACTIVE_MONTHS = (1, 2, 3, 6, 12)
REVENUE_MONTHS = (1, 3, 6, 12)


@dataclass(frozen=True)
class Happening:
    """An event that is seen: ids None where unknown, properties less those that are null."""

    name: str
    at: datetime
    event_id: str
    client_id: str
    lead_id: str | None
    user_id: str | None
    properties: dict[str, Any]
    properties_as_they_came: dict[str, Any]

    @property
    def day(self) -> date:
        return self.at.date()

    @property
    def month(self) -> str:
        return month_of(self.day)

    def whole(self, name: str) -> int:
        """Return a property that is a whole number, 100.0 as 100."""
        return int(exact(self.properties[name]))


@dataclass(frozen=True)
class Member:
    """A client or user as it is at `as_of`, with its own events in order."""

    id: str
    created_at: datetime
    churned_at: datetime | None
    happenings: list[Happening]

    @property
    def first_day(self) -> date:
        return min([self.created_at.date(), *(happening.day for happening in self.happenings)])

    def last_day(self, as_of: datetime) -> date:
        """Return the last day of its span.

        It lies before the first day, and the span has no days, for a client without events whose
        entity says that it churned on a day before it was created.
        """
        today = as_of.astimezone(UTC).date()
        if self.churned_at is None:
            return today
        ended = max([self.churned_at.date(), *(happening.day for happening in self.happenings)])
        return min(today, ended)


@dataclass(frozen=True)
class Answered:
    """An inbound message and the time that its lead's next outbound one took."""

    message: Happening
    seconds: Fraction


def all_marts(
    events: list[Event], clients: list[Entity], users: list[Entity], as_of: datetime
) -> dict[str, list[Row]]:
    """Return the rows of every mart of the section, by its name."""
    return {
        "analytics_daily": analytics_daily(events, clients, as_of),
        "analytics_weekly": analytics_weekly(events, clients, as_of),
        "analytics_monthly": analytics_monthly(events, clients, as_of),
        "funnel_events": funnel_events(events, as_of),
        "lead_funnel": lead_funnel(events, as_of),
        "conversion_funnel": conversion_funnel(events, as_of),
        "lead_cohort_funnel": lead_cohort_funnel(events, as_of),
        "lead_sources": lead_sources(events, as_of),
        "response_time_distribution": response_time_distribution(events, as_of),
        "client_cohorts": client_cohorts(events, clients, as_of),
        "cohort_retention": cohort_retention(events, clients, users, as_of),
    }


def visible_in_order(events: Iterable[Event], as_of: datetime) -> list[Happening]:
    """Return the events before `as_of`, by time and then by id as a UUID.

    The first of some is the earliest, the last the latest. Two events may share both, under two
    clients; nothing here depends on which of them is first.
    """
    seen = [_happening(event) for event in events]
    return sorted(
        (happening for happening in seen if happening.at < as_of),
        key=lambda happening: (happening.at, uuid.UUID(happening.event_id)),
    )


def _happening(event: Event) -> Happening:
    actor = event["actor"]
    as_they_came = event.get("properties") or {}
    return Happening(
        name=event["event"],
        at=instant(event["timestamp"]),
        event_id=event["event_id"],
        client_id=actor["client_id"],
        # An empty string in the actor counts as absent, elsewhere it is a value.
        lead_id=actor.get("lead_id") or None,
        user_id=actor.get("user_id") or None,
        properties={name: value for name, value in as_they_came.items() if value is not None},
        properties_as_they_came=as_they_came,
    )


def of_clients(events: Iterable[Event], as_of: datetime) -> dict[str, list[Happening]]:
    """Return what is seen of each client with an event, in order; the platform is no client."""
    groups = grouped(visible_in_order(events, as_of), lambda happening: happening.client_id)
    groups.pop(PLATFORM, None)
    return groups


def client_members(
    events: Iterable[Event], clients: Iterable[Entity], as_of: datetime
) -> list[Member]:
    """Return every client there is: the platform is none, whether or not it has an entity."""
    known = [client for client in clients if client["client_id"] != PLATFORM]
    return _members(of_clients(events, as_of), known, "client_id", as_of)


def user_members(events: Iterable[Event], users: Iterable[Entity], as_of: datetime) -> list[Member]:
    """Return every user there is, with their events under any client.

    Those under the platform count too: they make a row of the user, none of the platform.
    """
    of_users = grouped(visible_in_order(events, as_of), lambda happening: happening.user_id)
    of_users.pop(None, None)
    return _members(of_users, users, "user_id", as_of)


def _members(
    happenings_of: dict[str, list[Happening]],
    entities: Iterable[Entity],
    key: str,
    as_of: datetime,
) -> list[Member]:
    """Entities created before `as_of`, and whoever has an event.

    An entity that is created later does not exist yet, with all that it says: a member with events
    before it is an inferred one until then.
    """
    standing = {entity[key]: entity for entity in entities if instant(entity["created_at"]) < as_of}
    members = []
    for name in sorted({*standing, *happenings_of}):
        happenings = happenings_of.get(name, [])
        entity = standing.get(name)
        if entity is None:
            created_at, churned_at = happenings[0].at, None
        else:
            created_at = instant(entity["created_at"])
            churned_at = _moment_before(as_of, entity.get("churned_at"))
        members.append(Member(name, created_at, churned_at, happenings))
    return members


def _moment_before(as_of: datetime, text: str | None) -> datetime | None:
    if text is None or instant(text) >= as_of:
        return None
    return instant(text)


def analytics_daily(events: list[Event], clients: list[Entity], as_of: datetime) -> list[Row]:
    """One row per client and day of its span."""
    rows = []
    for client in client_members(events, clients, as_of):
        created = earliest_created(client.happenings)
        answers = answered(client.happenings)
        for day in span_days(client, as_of):
            of_day = [happening for happening in client.happenings if happening.day == day]
            new_leads = [first for first in created.values() if first.day == day]
            answered_on = [answer for answer in answers if answer.message.day == day]
            row: Row = {"client_id": client.id, "date": day}
            row |= {"new_leads": len(new_leads)} | _leads_by_source(new_leads)
            row |= {
                "total_conversations": conversations(of_day),
                "ai_responses": count(of_day, "message", direction="outbound", sender_type="ai"),
                "human_responses": count(
                    of_day, "message", direction="outbound", sender_type="human"
                ),
                "inbound_messages": count(of_day, "message", direction="inbound"),
                "outbound_messages": count(of_day, "message", direction="outbound"),
                "escalations": count(of_day, "escalation_opened"),
                "avg_response_time_seconds": mean_response(answered_on),
                "appointments_booked": count(of_day, "appointment_booked"),
                "quotes_requested": count(of_day, "quote_requested"),
                "quotes_sent": count(of_day, "quote_sent"),
                "jobs_won": count(of_day, "job_won"),
                "jobs_lost": count(of_day, "job_lost"),
                "review_requests_sent": count(of_day, "review_requested"),
                "reviews_received": count(of_day, "review_received"),
                "revenue_attributed_cents": total(of_day, "job_won", "value_cents"),
                "invoices_sent_cents": total(of_day, "invoice_sent", "value_cents"),
                "payments_collected_cents": total(of_day, "payment_received", "value_cents"),
                "avg_rating": mean_rating(of_day),
            }
            row |= _leads_by_stage(client.happenings, before=midnight(day + DAY))
            rows.append(row)
    return rows


def _leads_by_source(new_leads: list[Happening]) -> Row:
    row = dict.fromkeys((*COLUMN_OF_SOURCE.values(), "leads_from_other"), 0)
    for first in new_leads:
        row[COLUMN_OF_SOURCE.get(first.properties.get("source"), "leads_from_other")] += 1
    return row


def _leads_by_stage(happenings: list[Happening], before: datetime) -> Row:
    stages = Counter(stage_of(of_lead, before) for of_lead in by_lead(happenings).values())
    return {f"leads_{stage}": stages[stage] for stage in STAGES}


def analytics_weekly(events: list[Event], clients: list[Entity], as_of: datetime) -> list[Row]:
    """One row per client and week that has a day of its span; the week's numbers are whole.

    No event of a client lies outside its span, so nothing of a week is cut off.
    """
    rows = []
    for client in client_members(events, clients, as_of):
        created = earliest_created(client.happenings)
        answers = answered(client.happenings)
        weeks: dict[date, Row] = {}
        for week_start in unique(monday(day) for day in span_days(client, as_of)):
            of_week = [
                happening for happening in client.happenings if monday(happening.day) == week_start
            ]
            new_leads = sum(monday(first.day) == week_start for first in created.values())
            answered_in = [answer for answer in answers if monday(answer.message.day) == week_start]
            appointments = count(of_week, "appointment_booked")
            jobs_won = count(of_week, "job_won")
            revenue = total(of_week, "job_won", "value_cents")
            is_complete = midnight(week_start + WEEK) <= as_of
            # What a week that is running has come to so far is not compared.
            previous = weeks.get(week_start - WEEK, {}) if is_complete else {}
            weeks[week_start] = {
                "client_id": client.id,
                "week_start": week_start,
                "new_leads": new_leads,
                "total_conversations": conversations(of_week),
                "appointments_booked": appointments,
                "jobs_won": jobs_won,
                "revenue_attributed_cents": revenue,
                "payments_collected_cents": total(of_week, "payment_received", "value_cents"),
                "lead_to_appointment_rate": bp(appointments, new_leads),
                "appointment_to_job_rate": bp(jobs_won, appointments),
                "overall_conversion_rate": bp(jobs_won, new_leads),
                "avg_response_time_seconds": mean_response(answered_in),
                "response_within_five_min": pct(
                    sum(answer.seconds <= FIVE_MINUTES for answer in answered_in),
                    len(answered_in),
                ),
                "leads_change_percent": change(new_leads, previous.get("new_leads")),
                "revenue_change_percent": change(revenue, previous.get("revenue_attributed_cents")),
                "is_complete": is_complete,
            }
        rows.extend(weeks.values())
    return rows


def analytics_monthly(events: list[Event], clients: list[Entity], as_of: datetime) -> list[Row]:
    """One row per client and month that has a day of its span; the month's numbers are whole."""
    rows = []
    for client in client_members(events, clients, as_of):
        created = earliest_created(client.happenings)
        months: dict[str, Row] = {}
        for month in unique(month_of(day) for day in span_days(client, as_of)):
            of_month = [happening for happening in client.happenings if happening.month == month]
            to_its_end = [
                happening
                for happening in client.happenings
                if happening.at < start_of(month_after(month, 1))
            ]
            new_leads = sum(first.month == month for first in created.values())
            jobs_won = count(of_month, "job_won")
            revenue = total(of_month, "job_won", "value_cents")
            messages = count(of_month, "message")
            cost = total(of_month, "api_cost", "cost_cents")
            invoiced = total(to_its_end, "invoice_sent", "value_cents")
            collected = total(to_its_end, "payment_received", "value_cents")
            # What a month that is running has come to so far is not compared.
            previous = months.get(month_after(month, -1), {}) if has_ended(month, as_of) else {}
            months[month] = {
                "client_id": client.id,
                "month": month,
                "new_leads": new_leads,
                "qualified_leads": len(leads_with(of_month, "qualified")),
                "appointments_booked": count(of_month, "appointment_booked"),
                "quotes_generated": count(of_month, "quote_sent"),
                "jobs_won": jobs_won,
                "jobs_lost": count(of_month, "job_lost"),
                "revenue_attributed_cents": revenue,
                "avg_job_value_cents": rounded_whole(ratio(revenue, jobs_won)),
                "payments_collected_cents": total(of_month, "payment_received", "value_cents"),
                # What was paid too much goes on to later months: the floor is the result's.
                "outstanding_invoices_cents": max(0, invoiced - collected),
                "total_messages": messages,
                "ai_handled_percent": pct(
                    count(of_month, "message", direction="outbound", sender_type="ai"),
                    count(of_month, "message", direction="outbound"),
                ),
                "escalation_rate": pct(count(of_month, "escalation_opened"), messages),
                "reviews_received": count(of_month, "review_received"),
                "avg_rating": mean_rating(of_month),
                "five_star_reviews": count(of_month, "review_received", rating=5),
                "lead_to_job_rate": bp(jobs_won, new_leads),
                "platform_cost_cents": cost,
                "roi_multiple": rounded(ratio(revenue, cost), 2),
                "previous_month_revenue_change_pct": change(
                    revenue, previous.get("revenue_attributed_cents")
                ),
                "previous_month_leads_change_pct": change(new_leads, previous.get("new_leads")),
                "is_complete": has_ended(month, as_of),
            }
        rows.extend(months.values())
    return rows


def funnel_events(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per event of the twelve kinds."""
    rows = []
    for client_id, happenings in of_clients(events, as_of).items():
        created = earliest_created(happenings)
        for happening in happenings:
            if happening.name not in FUNNEL_EVENTS:
                continue
            valued = happening.name in VALUED_EVENTS and "value_cents" in happening.properties
            rows.append(
                {
                    "client_id": client_id,
                    "event_id": happening.event_id,
                    "created_at": happening.at,
                    "lead_id": happening.lead_id,
                    "event_type": happening.name,
                    # As they came: null members too.
                    "event_data": happening.properties_as_they_came,
                    "value_cents": happening.whole("value_cents") if valued else None,
                }
                | _origin(created.get(happening.lead_id))
            )
    return rows


def _origin(created: Happening | None) -> Row:
    """Where a lead came from, by its earliest `lead_created` and no other."""
    given = {} if created is None else created.properties
    return {"source": given.get("source"), "campaign": given.get("campaign")}


def lead_funnel(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per client and lead with a funnel event or a stage change."""
    rows = []
    for client_id, happenings in of_clients(events, as_of).items():
        for lead_id, of_lead in by_lead(happenings).items():
            if not any(
                happening.name in (*FUNNEL_EVENTS, "lead_stage_changed") for happening in of_lead
            ):
                continue
            first = first_times(of_lead)
            row: Row = {"client_id": client_id, "lead_id": lead_id}
            row |= {f"{name}_at": first.get(name) for name in TIMED_EVENTS}
            row |= _origin(earliest_created(of_lead).get(lead_id))
            row |= {
                "won_value_cents": total(of_lead, "job_won", "value_cents"),
                "collected_cents": total(of_lead, "payment_received", "value_cents"),
                "current_stage": stage_of(of_lead, before=as_of),
                "furthest_step": max(steps_in_order(first), key=FUNNEL_STEPS.index, default=None),
                "days_to_win": None,
            }
            if "lead_created" in first and "job_won" in first:
                row["days_to_win"] = (first["job_won"].date() - first["lead_created"].date()).days
            rows.append(row)
    return rows


def first_times(of_lead: list[Happening]) -> dict[str, datetime]:
    """Return the time of a lead's first event of each kind."""
    first: dict[str, datetime] = {}
    for happening in of_lead:
        first.setdefault(happening.name, happening.at)
    return first


def steps_in_order(first: dict[str, datetime]) -> dict[str, datetime]:
    """Return the funnel steps that a lead has reached in order, with the first time of each.

    A step without a time, or before the last one reached, is skipped. Without `lead_created` none
    is reached.
    """
    if "lead_created" not in first:
        return {}
    last_reached = first["lead_created"]
    reached = {}
    for step in FUNNEL_STEPS:
        if step in first and first[step] >= last_reached:
            reached[step] = last_reached = first[step]
    return reached


def conversion_funnel(events: list[Event], as_of: datetime) -> list[Row]:
    """Six rows per client and month with any of the twelve funnel events."""
    rows = []
    for client_id, happenings in of_clients(events, as_of).items():
        funnel = [happening for happening in happenings if happening.name in FUNNEL_EVENTS]
        for month, of_month in grouped(funnel, lambda happening: happening.month).items():
            leads_before = None
            for order, stage in enumerate(FUNNEL_STEPS, start=1):
                leads = len(leads_with(of_month, stage))
                rows.append(
                    {
                        "client_id": client_id,
                        "month": month,
                        "stage": stage,
                        "stage_order": order,
                        "leads": leads,
                        "value_cents": (
                            total(of_month, stage, "value_cents") if stage in VALUED_EVENTS else 0
                        ),
                        # The first stage is measured against itself.
                        "conversion_rate": pct(leads, leads if order == 1 else leads_before),
                        "is_complete": has_ended(month, as_of),
                    }
                )
                leads_before = leads
    return rows


def lead_cohort_funnel(events: list[Event], as_of: datetime) -> list[Row]:
    """Six rows per client and month in which a lead was created for the first time.

    The 90 days do not change what is in order: a step that a lead reached too late to count still
    stands before the later ones.
    """
    rows = []
    for client_id, happenings in of_clients(events, as_of).items():
        leads = by_lead(happenings)
        created = earliest_created(happenings).values()
        for month, cohort in grouped(created, lambda first: first.month).items():
            hours_to: dict[str, list[Fraction]] = {stage: [] for stage in FUNNEL_STEPS}
            for first in cohort:
                for stage, at in steps_in_order(first_times(leads[first.lead_id])).items():
                    if at - first.at < NINETY_DAYS:
                        hours_to[stage].append(seconds(at - first.at) / 3600)
            rows.extend(
                {
                    "client_id": client_id,
                    "cohort_month": month,
                    "stage": stage,
                    "stage_order": order,
                    "leads": len(hours_to[stage]),
                    "conversion_rate": pct(len(hours_to[stage]), len(hours_to["lead_created"])),
                    "median_hours_from_created": rounded(
                        percentile(hours_to[stage], Fraction(1, 2)), 2
                    ),
                    "is_mature": start_of(month_after(month, 1)) + NINETY_DAYS <= as_of,
                    "is_complete": has_ended(month, as_of),
                }
                for order, stage in enumerate(FUNNEL_STEPS, start=1)
            )
    return rows


def lead_sources(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per client, month and source of a lead's earliest `lead_created`."""
    rows = []
    for client_id, happenings in of_clients(events, as_of).items():
        leads = by_lead(happenings)
        cells = grouped(
            earliest_created(happenings).values(),
            # An empty source is one.
            lambda first: (first.month, first.properties.get("source", OTHER)),
        )
        for (month, source), cell in cells.items():
            of_cell = [happening for first in cell for happening in leads[first.lead_id]]
            conversions = len(leads_with(of_cell, "job_won"))
            rows.append(
                {
                    "client_id": client_id,
                    "month": month,
                    "source": source,
                    "leads": len(cell),
                    "conversions": conversions,
                    "revenue_cents": total(of_cell, "job_won", "value_cents"),
                    "conversion_rate": pct(conversions, len(cell)),
                    "is_complete": has_ended(month, as_of),
                }
            )
    return rows


def response_time_distribution(events: list[Event], as_of: datetime) -> list[Row]:
    """Five rows per client and month with an inbound message that was answered, then or later."""
    rows = []
    for client_id, happenings in of_clients(events, as_of).items():
        months = grouped(answered(happenings), lambda answer: answer.message.month)
        for month, answers in months.items():
            responses = Counter(bucket_of(answer.seconds) for answer in answers)
            rows.extend(
                {
                    "client_id": client_id,
                    "month": month,
                    "bucket": bucket,
                    "bucket_order": order,
                    "responses": responses[bucket],
                    "is_complete": has_ended(month, as_of),
                }
                for order, (bucket, _) in enumerate(BUCKETS, start=1)
            )
    return rows


def bucket_of(response_seconds: Fraction) -> str:
    """Return the first bucket whose bound the response time keeps."""
    return next(bucket for bucket, bound in BUCKETS if bound is None or response_seconds <= bound)


def client_cohorts(events: list[Event], clients: list[Entity], as_of: datetime) -> list[Row]:
    """One row per client."""
    rows = []
    for client in client_members(events, clients, as_of):
        cohort_month = month_of(client.created_at.date())
        row: Row = {"client_id": client.id, "cohort_month": cohort_month}
        for number in ACTIVE_MONTHS:
            month = month_after(cohort_month, number)
            active: bool | None = is_active(client, month)
            if not active and not has_ended(month, as_of):
                active = None
            row[f"month_{number}_active"] = active
        for number in REVENUE_MONTHS:
            month = month_after(cohort_month, number)
            has_begun = start_of(month) <= as_of
            row[f"month_{number}_revenue_cents"] = revenue_in(client, month) if has_begun else None
        row["lifetime_revenue_cents"] = total(client.happenings, "job_won", "value_cents")
        rows.append(row)
    return rows


def cohort_retention(
    events: list[Event], clients: list[Entity], users: list[Entity], as_of: datetime
) -> list[Row]:
    """One row per kind of member, month of their creation and month since, to that of `as_of`."""
    this_month = month_of(as_of.astimezone(UTC).date())
    members_of = {
        "client": client_members(events, clients, as_of),
        "user": user_members(events, users, as_of),
    }
    rows = []
    for cohort_type, members in members_of.items():
        cohorts = grouped(members, lambda member: month_of(member.created_at.date()))
        for cohort_month, cohort in cohorts.items():
            for number in range(months_between(cohort_month, this_month) + 1):
                month = month_after(cohort_month, number)
                active = sum(is_active(member, month) for member in cohort)
                revenue = sum(revenue_in(member, month) for member in cohort)
                rows.append(
                    {
                        "cohort_type": cohort_type,
                        "cohort_month": cohort_month,
                        "month_number": number,
                        "cohort_size": len(cohort),
                        "active": active,
                        "retention_rate": pct2(active, len(cohort)),
                        "revenue_cents": revenue if cohort_type == "client" else None,
                        "is_complete": has_ended(month, as_of),
                    }
                )
    return rows


def is_active(member: Member, month: str) -> bool:
    """Whether the member has an event of any kind in the month."""
    return any(happening.month == month for happening in member.happenings)


def revenue_in(member: Member, month: str) -> int:
    """Return the revenue attributed to the member in the month."""
    of_month = [happening for happening in member.happenings if happening.month == month]
    return total(of_month, "job_won", "value_cents")


def by_lead(happenings: Iterable[Happening]) -> dict[str, list[Happening]]:
    """Return one client's events by lead, those without a lead left out."""
    groups = grouped(happenings, lambda happening: happening.lead_id)
    groups.pop(None, None)
    return groups


def earliest_created(happenings: Iterable[Happening]) -> dict[str, Happening]:
    """Return the earliest `lead_created` of each of one client's leads that has one."""
    created: dict[str, Happening] = {}
    for happening in happenings:
        if happening.name == "lead_created":
            created.setdefault(happening.lead_id, happening)
    return created


def answered(happenings: list[Happening]) -> list[Answered]:
    """Return one client's inbound messages that have an answer.

    The answer is the lead's next outbound message, whoever sent it and in whatever conversation,
    strictly later by time: of two messages at one instant none answers the other. One outbound
    message may answer several inbound ones.
    """
    found = []
    for of_lead in by_lead(happenings).values():
        messages = [happening for happening in of_lead if happening.name == "message"]
        for message in messages:
            if message.properties["direction"] != "inbound":
                continue
            later = [
                other.at
                for other in messages
                if other.properties["direction"] == "outbound" and other.at > message.at
            ]
            if later:
                found.append(Answered(message, seconds(min(later) - message.at)))
    return found


def stage_of(of_lead: list[Happening], before: datetime) -> str | None:
    """Return the lead's stage before this moment; None where it was not created nor staged."""
    stage = None
    for happening in of_lead:
        if happening.at >= before:
            break
        if happening.name == "lead_created" and stage is None:
            stage = "new"
        elif happening.name == "lead_stage_changed":
            stage = happening.properties["stage"]
    return stage


def conversations(happenings: Iterable[Happening]) -> int:
    """How many of one client's conversations have a message here.

    A message without `conversation_id` belongs to the one that has the lead's id.
    """
    return len(
        {
            happening.properties.get("conversation_id", happening.lead_id)
            for happening in happenings
            if happening.name == "message"
        }
    )


def leads_with(happenings: Iterable[Happening], name: str) -> set[str | None]:
    """Return one client's leads with an event of this kind."""
    return {happening.lead_id for happening in happenings if happening.name == name}


def count(happenings: Iterable[Happening], name: str, **properties: Any) -> int:
    """How many events of this kind have all of these properties."""
    return sum(
        happening.name == name
        and all(happening.properties.get(key) == value for key, value in properties.items())
        for happening in happenings
    )


def total(happenings: Iterable[Happening], name: str, of: str) -> int:
    """Return the sum of a property that is a whole number, 0 where it is absent."""
    return sum(
        happening.whole(of)
        for happening in happenings
        if happening.name == name and of in happening.properties
    )


def mean_response(answers: list[Answered]) -> int | None:
    """Return the mean response time in whole seconds."""
    return rounded_whole(mean([answer.seconds for answer in answers]))


def mean_rating(happenings: Iterable[Happening]) -> Decimal | None:
    """Return the mean rating of the reviews, to two places."""
    ratings = [
        Fraction(happening.whole("rating"))
        for happening in happenings
        if happening.name == "review_received"
    ]
    return rounded(mean(ratings), 2)


def ratio(part: int, whole: int) -> Fraction | None:
    """Return the exact ratio; None when the whole is 0."""
    return None if whole == 0 else Fraction(part, whole)


def bp(part: int, whole: int) -> int | None:
    """Return `round(10000 * part / whole)`; None when the whole is 0."""
    return rounded_whole(ratio(10_000 * part, whole))


def pct(part: int, whole: int) -> int | None:
    """Return `round(100 * part / whole)`; None when the whole is 0."""
    return rounded_whole(ratio(100 * part, whole))


def change(this: int, previous: int | None) -> int | None:
    """Return the percentage that this is more than previous; None without previous, or at 0."""
    return None if previous is None else rounded_whole(ratio(100 * (this - previous), previous))


def seconds(elapsed: timedelta) -> Fraction:
    """Return the exact number of seconds."""
    return Fraction(elapsed // MICROSECOND, 10**6)


def midnight(day: date) -> datetime:
    """Return the day's first instant."""
    return datetime.combine(day, time(), UTC)


def days_from(first: date, last: date) -> Iterator[date]:
    """Return the days in order, both ends included; none where the last lies before the first."""
    for number in range((last - first).days + 1):
        yield first + number * DAY


def span_days(client: Member, as_of: datetime) -> Iterator[date]:
    """Return the days of a client's span, in order."""
    return days_from(client.first_day, client.last_day(as_of))


def monday(day: date) -> date:
    """Return the first day of the day's week."""
    return day - day.weekday() * DAY


def month_of(day: date) -> str:
    """Return the day's month as text."""
    return f"{day.year:04}-{day.month:02}"


def month_after(month: str, number: int) -> str:
    """Return the month that comes this many months later."""
    year, index = divmod(_month_number(month) + number, 12)
    return f"{year:04}-{index + 1:02}"


def months_between(month: str, later: str) -> int:
    """How many months later the second one is."""
    return _month_number(later) - _month_number(month)


def _month_number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:]) - 1


def start_of(month: str) -> datetime:
    """Return the month's first instant."""
    return midnight(date(int(month[:4]), int(month[5:]), 1))


def has_ended(month: str, as_of: datetime) -> bool:
    """Whether the next month's first instant has come."""
    return start_of(month_after(month, 1)) <= as_of


def unique(values: Iterable[Any]) -> list[Any]:
    """Return each value once, in the order of their first appearance."""
    return list(dict.fromkeys(values))
