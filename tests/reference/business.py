"""What the marts of revenue, credits and use hold, computed slowly and plainly from the contract.

Events, `as_of` and rows are those of `tests.reference.operations`, clients those of
`tests.reference.clients`.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from tests.reference.ai_usage import (
    as_decimal,
    chat_events,
    grouped,
    rounded,
    rounded_whole,
)
from tests.reference.clients import (
    DAY,
    Entity,
    Event,
    Row,
    analytics_monthly,
    client_members,
    midnight,
    month_after,
    month_of,
    start_of,
    total,
)
from tests.reference.operations import (
    Record,
    conversion_rate_between,
    named,
    paying_users,
    revenue_of,
    share,
    signed_amount,
    users_of,
    visible_in_order,
)
from tests.reference.platform import live_subscriptions, platform_analytics

NONE = "none"
DASHBOARD_EVENTS = ("analytics.dashboard_view", "analytics.filter_change", "analytics.export")
THIRTY_DAYS = 30 * DAY


def all_marts(events: list[Event], clients: list[Entity], as_of: datetime) -> dict[str, list[Row]]:
    """Return the rows of every one of these marts, by its name."""
    return {
        "business_metrics": business_metrics(events, clients, as_of),
        "revenue_daily": revenue_daily(events, as_of),
        "revenue_events": revenue_events(events, as_of),
        "credit_usage_daily": credit_usage_daily(events, as_of),
        "builder_usage_daily": builder_usage_daily(events, as_of),
        "dashboard_usage_daily": dashboard_usage_daily(events, as_of),
        "unit_economics_monthly": unit_economics_monthly(events, clients, as_of),
    }


def business_metrics(events: list[Event], clients: list[Entity], as_of: datetime) -> list[Row]:
    """Four rows per day of the platform's analytics, whether or not anything happened."""
    seen = visible_in_order(events, as_of)
    rows = []
    for platform_row in platform_analytics(events, clients, as_of):
        day = platform_row["date"]
        of_day = [record for record in seen if record.day == day]
        day_end = midnight(day + DAY)
        metrics: tuple[tuple[str, Decimal | None, str], ...] = (
            ("daily_revenue", as_decimal(revenue_of(named(of_day, "revenue"))), "USD"),
            ("daily_active_users", Decimal(len(users_of(of_day))), "users"),
            (
                "conversion_rate",
                conversion_rate_between(seen, day_end - THIRTY_DAYS, day_end),
                "percent",
            ),
            ("mrr", as_decimal(Fraction(platform_row["mrr_cents"], 100)), "USD"),
        )
        rows.extend(
            {
                "metric_name": name,
                "period_start": day,
                "period_end": day + DAY,
                "metric_value": value,
                "metric_unit": unit,
            }
            for name, value, unit in metrics
        )
    return rows


def revenue_daily(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per day and plan (`none` without) with a payment or a refund."""
    payments = named(visible_in_order(events, as_of), "revenue")
    cells = grouped(
        payments,
        # An empty plan is one.
        lambda payment: (payment.day, payment.properties.get("plan_type", NONE)),
    )
    rows = []
    for (day, plan_type), of_cell in cells.items():
        types = Counter(payment.properties["type"] for payment in of_cell)
        revenue = revenue_of(of_cell)
        paying = len(paying_users(of_cell))
        rows.append(
            {
                "date": day,
                "plan_type": plan_type,
                "total_revenue_usd": as_decimal(revenue),
                "subscriptions": types["subscription"],
                "upgrades": types["upgrade"],
                "purchases": types["purchase"],
                "refunds": types["refund"],
                "paying_users": paying,
                "average_revenue_per_user_usd": rounded(share(revenue, paying), 6),
            }
        )
    return rows


def revenue_events(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per payment or refund; what is unknown is None."""
    return [
        {
            "client_id": payment.client_id,
            "event_id": payment.event_id,
            "created_at": payment.at,
            "user_id": payment.user_id,
            "type": payment.properties["type"],
            "amount_usd": as_decimal(signed_amount(payment)),
            "plan_type": payment.properties.get("plan_type"),
            "payment_provider": payment.properties.get("payment_provider"),
            "payment_id": payment.properties.get("payment_id"),
        }
        for payment in named(visible_in_order(events, as_of), "revenue")
    ]


def credit_usage_daily(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per user, feature and day with credits used, under whatever client."""
    uses = named(visible_in_order(events, as_of), "credit_used")
    cells = grouped(uses, lambda use: (use.user_id, use.properties["feature_name"], use.day))
    return [
        {
            "user_id": user_id,
            "feature_name": feature_name,
            "date": day,
            "credits_used": as_decimal(_sum(of_cell, "credits_used")),
            "cost_usd": as_decimal(_sum(of_cell, "cost_usd")),
            "uses": len(of_cell),
        }
        for (user_id, feature_name, day), of_cell in cells.items()
    ]


def _sum(records: list[Record], name: str) -> Fraction:
    return sum((record.number(name) for record in records), Fraction(0))


def builder_usage_daily(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per client, day and action in the builder."""
    actions = named(visible_in_order(events, as_of), "builder_action")
    cells = grouped(
        actions, lambda action: (action.client_id, action.day, action.properties["action"])
    )
    return [
        {
            "client_id": client_id,
            "date": day,
            "action": action,
            "actions": len(of_cell),
            "users": len(users_of(of_cell)),
        }
        for (client_id, day, action), of_cell in cells.items()
    ]


def dashboard_usage_daily(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per day, event and view (`none` without) of the dashboards, under any client."""
    uses = [record for record in visible_in_order(events, as_of) if record.name in DASHBOARD_EVENTS]
    # An empty view is one.
    cells = grouped(uses, lambda use: (use.day, use.name, use.properties.get("view", NONE)))
    return [
        {
            "date": day,
            "event": name,
            "view": view,
            "uses": len(of_cell),
            "users": len(users_of(of_cell)),
        }
        for (day, name, view), of_cell in cells.items()
    ]


def unit_economics_monthly(
    events: list[Event], clients: list[Entity], as_of: datetime
) -> list[Row]:
    """One row per client and month of `analytics_monthly`."""
    members = {member.id: member for member in client_members(events, clients, as_of)}
    chats = chat_events(events, as_of)
    uses = named(visible_in_order(events, as_of), "credit_used")
    rows = []
    for monthly in analytics_monthly(events, clients, as_of):
        client_id, month = monthly["client_id"], monthly["month"]
        happenings = members[client_id].happenings
        # They are those before `as_of`: in a month that has not ended, it is the end.
        live = live_subscriptions(happenings, before=start_of(month_after(month, 1)))
        mrr = sum(subscription.mrr_cents for subscription in live)
        of_month = [happening for happening in happenings if happening.month == month]
        api_cost = total(of_month, "api_cost", "cost_cents")
        ai_cost = sum(
            (
                Fraction(chat["cost_total"])
                for chat in chats
                if chat["client_id"] == client_id and month_of(chat["created_at"].date()) == month
            ),
            Fraction(0),
        )
        credits_cost = _sum(
            [use for use in uses if use.client_id == client_id and month_of(use.day) == month],
            "cost_usd",
        )
        rows.append(
            {
                "client_id": client_id,
                "month": month,
                "revenue_attributed_cents": monthly["revenue_attributed_cents"],
                "mrr_cents": mrr,
                "ai_cost_usd": as_decimal(ai_cost),
                "api_cost_cents": api_cost,
                "credits_cost_usd": as_decimal(credits_cost),
                "margin_cents": mrr - api_cost - rounded_whole(100 * (ai_cost + credits_cost)),
                "new_leads": monthly["new_leads"],
                "is_complete": monthly["is_complete"],
            }
        )
    return rows
