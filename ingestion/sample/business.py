"""Events of subscriptions, payments, credits, costs, the site builder and dashboards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from ingestion.sample.events import Event, Json, present
from ingestion.sample.timeline import (
    DAY,
    SAMPLE_START,
    STORY_END,
    chance,
    days,
    later,
    moment,
    seconds,
    weighted,
)
from ingestion.sample.world import RETURNING_CLIENT, Client, User, World, user_moments

PLAN_CENTS = {"starter": 9_900, "growth": 24_900, "scale": 59_900}
TRIAL_DAYS = 10
USER_PRICES = {"pro": 29.0, "team": 99.0}
PURCHASES = (9.99, 19.0, 49.5)
FEATURES = {"zoning_report": 5, "ai_summary": 1, "image_render": 8, "bulk_export": 2.5}
SERVICES = {"llm": 45, "telephony": 30, "email": 6}


def _subscription(client: Client, kind: str, at: datetime, number: int, **rest: object) -> Event:
    properties: Json = {"subscription_id": f"sub-{number}", **rest}
    actor = {"client_id": client.client_id}
    return Event(at, f"subscription_{kind}", actor, properties, {"source": "api"})


def subscriptions(world: World, rng: Random) -> Iterator[Event]:
    """Yield subscription events: clients start, change, pause, cancel and return."""
    for number, client in enumerate(world.clients):
        if client.listed:
            yield from _client_subscriptions(rng, client, number)
    for number, plan in enumerate(("internal", "partner"), start=1):
        yield _subscription(
            world.platform,
            "started",
            SAMPLE_START + number * 9 * DAY,
            number,
            plan=plan,
            mrr_cents=1_000 * number,
        )


def _client_subscriptions(rng: Random, client: Client, number: int) -> Iterator[Event]:
    trial_end = client.created_at + TRIAL_DAYS * DAY
    first = max(trial_end, moment(rng, SAMPLE_START + rng.randrange(6) * DAY))
    price = PLAN_CENTS[client.plan]
    yield _subscription(client, "started", first, 1, plan=client.plan, mrr_cents=price)
    if number == RETURNING_CLIENT:
        yield _subscription(client, "cancelled", first + 28 * DAY, 1)
        back = first + 61 * DAY
        yield _subscription(client, "started", back, 2, plan=client.plan, mrr_cents=price)
    elif client.churned_at is not None:
        yield _subscription(client, "cancelled", client.churned_at - timedelta(hours=2), 1)
    elif client.paused_at is not None:
        yield _subscription(client, "changed", client.paused_at, 1, plan="paused", mrr_cents=0)
    elif chance(rng, 0.45):
        changed_at = moment(rng, first + rng.randrange(20, 60) * DAY)
        plan = rng.choice([name for name in PLAN_CENTS if name != client.plan])
        yield _subscription(client, "changed", changed_at, 1, plan=plan, mrr_cents=PLAN_CENTS[plan])
    if number % 6 == 0:
        yield _subscription(
            client, "started", first + 15 * DAY, 3, plan="reviews-addon", mrr_cents=4_900
        )


def revenue(world: World, rng: Random) -> Iterator[Event]:
    """Yield payments: users pay every 30 days, upgrade, buy credits and get refunds."""
    for user in world.users:
        if user.plan in USER_PRICES:
            yield from _paid_months(rng, user, USER_PRICES[user.plan])
    for user, at in user_moments(world.users, rng, 0.002):
        yield _paid(rng, user, at, "purchase", rng.choice(PURCHASES))


def _paid_months(rng: Random, user: User, price: float) -> Iterator[Event]:
    at = user.created_at + timedelta(minutes=3)
    while at < min(user.quits_at, STORY_END):
        if at >= SAMPLE_START:
            yield _paid(rng, user, at, "subscription", price)
            if chance(rng, 0.05):
                yield _paid(rng, user, later(rng, at, 60), "refund", price)
            if chance(rng, 0.08):
                yield _paid(rng, user, later(rng, at, 100), "upgrade", 20.0)
        at += 30 * DAY


def _paid(rng: Random, user: User, at: datetime, kind: str, amount: float) -> Event:
    properties = present(
        type=kind,
        amount_usd=amount,
        plan_type=user.plan if kind != "purchase" else None,
        payment_provider=rng.choice(("stripe", "paypal")),
        payment_id=f"pay_{rng.getrandbits(48):x}",
    )
    return Event(at, "revenue", user.actor, properties, {"source": "api"})


def credits(world: World, rng: Random) -> Iterator[Event]:
    """Yield the credits that users spend on features."""
    for user, at in user_moments(world.users, rng, 0.07):
        feature = rng.choice(tuple(FEATURES))
        used = FEATURES[feature] * rng.randrange(1, 4)
        cost = round(used * 0.0125, 4) if chance(rng, 0.9) else None
        properties = present(feature_name=feature, credits_used=used, cost_usd=cost)
        yield Event(at, "credit_used", user.actor, properties, {"source": "api"})


def api_costs(world: World, rng: Random) -> Iterator[Event]:
    """Yield each client's daily cost by service, and the platform's own hosting."""
    for day in days():
        billed_at = day + timedelta(hours=23, minutes=50)
        for client in world.clients:
            for service, cents in SERVICES.items():
                cost = round(cents * client.level(day) * rng.uniform(0.5, 1.6))
                if billed_at >= client.created_at and cost > 5:
                    yield _cost(client, billed_at, service, cost)
        yield _cost(world.platform, billed_at, "hosting", 2_400)


def _cost(client: Client, at: datetime, service: str, cents: int) -> Event:
    properties = {"cost_cents": cents, "service": service}
    return Event(at, "api_cost", {"client_id": client.client_id}, properties, {"source": "runtime"})


BUILDER_ACTIONS = {
    "block_added": 0.5,
    "page_created": 0.2,
    "theme_changed": 0.15,
    "published": 0.15,
}
DASHBOARD_VIEWS = ("overview", "leads", "revenue", "response_times")
EXPORT_FORMATS = ("csv", "xlsx", "pdf")


def builder(world: World, rng: Random) -> Iterator[Event]:
    """Yield builder actions of admins and some members, several at a time."""
    builders = [
        user for number, user in enumerate(world.users) if user.role == "admin" or number % 12 == 0
    ]
    for user, at in user_moments(builders, rng, 0.04):
        for _ in range(rng.randrange(1, 9)):
            action = {"action": weighted(rng, BUILDER_ACTIONS)}
            yield Event(at, "builder_action", user.actor, action, {"source": "builder"})
            at += seconds(rng.uniform(3, 120))


def dashboards(world: World, rng: Random) -> Iterator[Event]:
    """Yield views, filter changes and exports of dashboards by admins who consented."""
    admins = [user for user in world.users if user.role == "admin"]
    for user, at in user_moments(admins, rng, 0.18):
        view = rng.choice(DASHBOARD_VIEWS) if chance(rng, 0.97) else None
        yield _dashboard(user, at, "dashboard_view", view=view)
        if chance(rng, 0.45):
            at += seconds(rng.uniform(4, 90))
            yield _dashboard(user, at, "filter_change", view=view, filter="last_30_days")
        if chance(rng, 0.12):
            at += seconds(rng.uniform(4, 90))
            yield _dashboard(user, at, "export", view=view, format=rng.choice(EXPORT_FORMATS))


def _dashboard(user: User, at: datetime, kind: str, **properties: object) -> Event:
    context: Json = {"source": "web", "consent": {"analytics": True}}
    return Event(at, f"analytics.{kind}", user.actor, present(**properties), context)
