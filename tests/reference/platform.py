"""What `platform_analytics` and `plan_adoption_daily` hold, computed slowly from the contract.

Events, clients, `as_of` and rows are those of `tests.reference.clients`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from tests.reference.ai_usage import grouped, rounded_whole
from tests.reference.clients import (
    DAY,
    Entity,
    Event,
    Happening,
    Member,
    Row,
    client_members,
    count,
    days_from,
    earliest_created,
    mean_rating,
    midnight,
    of_clients,
    ratio,
    total,
    visible_in_order,
)

# In the order in which they count at one and the same instant.
SUBSCRIPTION_EVENTS = (
    "subscription_started",
    "subscription_changed",
    "subscription_cancelled",
)
# So many plans of a client and day keep their name; all others are counted together.
PLANS_BY_NAME = 20
OTHER_PLANS = "other"


@dataclass(frozen=True)
class Subscription:
    """A live subscription."""

    plan: str
    mrr_cents: int


def all_marts(events: list[Event], clients: list[Entity], as_of: datetime) -> dict[str, list[Row]]:
    """Return the rows of both marts, by their names."""
    return {
        "platform_analytics": platform_analytics(events, clients, as_of),
        "plan_adoption_daily": plan_adoption_daily(events, as_of),
    }


def platform_analytics(events: list[Event], clients: list[Entity], as_of: datetime) -> list[Row]:
    """One row per day from the first client's first day to that of `as_of`; none without clients.

    The platform is no client here either, but what happens under it counts in the totals.
    """
    members = client_members(events, clients, as_of)
    if not members:
        return []
    days = list(days_from(min(member.first_day for member in members), today(as_of)))
    seen = visible_in_order(events, as_of)
    leads_per_day = _new_leads(seen)
    movements = mrr_movements(members, days)
    rows = []
    for day in days:
        of_day = [happening for happening in seen if happening.day == day]
        day_end = midnight(day + DAY)
        created = [member for member in members if member.created_at < day_end]
        active = [member for member in created if not _has_churned(member, day_end)]
        api_costs = total(of_day, "api_cost", "cost_cents")
        row: Row = {
            "date": day,
            "total_clients": len(created),
            "active_clients": len(active),
            "new_clients": sum(member.created_at.date() == day for member in members),
            # By the day that the entity gives, even one before the client's creation.
            "churned_clients": sum(
                member.churned_at is not None and member.churned_at.date() == day
                for member in members
            ),
        }
        row |= movements[day]
        row |= {
            "total_leads": leads_per_day.get(day, 0),
            "total_messages": count(of_day, "message"),
            "total_ai_responses": count(of_day, "message", direction="outbound", sender_type="ai"),
            "total_escalations": count(of_day, "escalation_opened"),
            "total_api_costs_cents": api_costs,
            "avg_cost_per_client_cents": rounded_whole(ratio(api_costs, len(active))),
            "avg_client_satisfaction": mean_rating(of_day),
        }
        rows.append(row)
    return rows


def today(as_of: datetime) -> date:
    """Return the UTC day of `as_of`."""
    return as_of.astimezone(UTC).date()


def _has_churned(member: Member, day_end: datetime) -> bool:
    return member.churned_at is not None and member.churned_at < day_end


def _new_leads(seen: list[Happening]) -> dict[date, int]:
    """How many leads have their earliest `lead_created` on each day; ids belong to clients."""
    new: dict[date, int] = {}
    for happenings in grouped(seen, lambda happening: happening.client_id).values():
        for first in earliest_created(happenings).values():
            new[first.day] = new.get(first.day, 0) + 1
    return new


def mrr_movements(members: list[Member], days: list[date]) -> dict[date, Row]:
    """Return each day's MRR at its end, and what moved it since the end of the day before.

    Per client, by its sum: one subscription for another of the same value moves nothing, and one
    of 0 is as none. What begins and ends within a day was never there.
    """
    columns = (
        "mrr_cents",
        "new_mrr_cents",
        "reactivation_mrr_cents",
        "expansion_mrr_cents",
        "contraction_mrr_cents",
        "churned_mrr_cents",
    )
    movements = {day: dict.fromkeys(columns, 0) for day in days}
    for member in members:
        yesterday = 0
        had_some_once = False
        for day in days:
            live = live_subscriptions(member.happenings, before=midnight(day + DAY))
            now = sum(subscription.mrr_cents for subscription in live)
            of_day = movements[day]
            of_day["mrr_cents"] += now
            if yesterday == 0 and now > 0 and not had_some_once:
                of_day["new_mrr_cents"] += now
            elif yesterday == 0 and now > 0:
                of_day["reactivation_mrr_cents"] += now
            elif now > yesterday:
                of_day["expansion_mrr_cents"] += now - yesterday
            elif now == 0:
                of_day["churned_mrr_cents"] += yesterday
            else:
                of_day["contraction_mrr_cents"] += yesterday - now
            yesterday = now
            had_some_once = had_some_once or now > 0
    return movements


def live_subscriptions(happenings: Iterable[Happening], before: datetime) -> list[Subscription]:
    """Return one client's subscriptions that are live before this moment.

    The latest event of each decides: a start or a change makes it live with its plan and MRR, a
    cancellation ends it. At one and the same instant it is started, then changed, then cancelled;
    only events of one kind go by their ids. Whether the client has churned decides nothing.
    """
    in_order = sorted(
        (happening for happening in happenings if happening.name in SUBSCRIPTION_EVENTS),
        key=lambda happening: (
            happening.at,
            SUBSCRIPTION_EVENTS.index(happening.name),
            uuid.UUID(happening.event_id),
        ),
    )
    latest = {
        happening.properties["subscription_id"]: happening
        for happening in in_order
        if happening.at < before
    }
    return [
        Subscription(happening.properties["plan"], happening.whole("mrr_cents"))
        for happening in latest.values()
        if happening.name != "subscription_cancelled"
    ]


def plan_adoption_daily(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per day and plan with a live subscription at the day's end, even one of 0.

    Plans beyond a client's largest of the day count as one that is called `other`.
    """
    clients = of_clients(events, as_of).values()
    subscribed = [
        happening.day
        for happenings in clients
        for happening in happenings
        if happening.name in SUBSCRIPTION_EVENTS
    ]
    if not subscribed:
        return []
    rows = []
    for day in days_from(min(subscribed), today(as_of)):
        live = [
            subscription
            for happenings in clients
            for subscription in _under_few_names(
                live_subscriptions(happenings, before=midnight(day + DAY))
            )
        ]
        for plan, subscriptions in grouped(live, lambda subscription: subscription.plan).items():
            rows.append(
                {
                    "date": day,
                    "plan": plan,
                    "active_subscriptions": len(subscriptions),
                    "mrr_cents": sum(subscription.mrr_cents for subscription in subscriptions),
                }
            )
    return rows


def _under_few_names(of_a_client: list[Subscription]) -> list[Subscription]:
    """Return one client's subscriptions, those of all but its largest plans under `other`."""
    plans = grouped(of_a_client, lambda subscription: subscription.plan)

    def size(plan: str) -> tuple[int, int, str]:
        mrr_cents = sum(subscription.mrr_cents for subscription in plans[plan])
        return -mrr_cents, -len(plans[plan]), plan

    named = sorted(plans, key=size)[:PLANS_BY_NAME]
    return [
        subscription if subscription.plan in named else replace(subscription, plan=OTHER_PLANS)
        for subscription in of_a_client
    ]
