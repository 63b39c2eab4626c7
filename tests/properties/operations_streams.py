"""Random calls, readings, payments and losses, made so that the rules of operations meet.

For the marts and functions of operations and those of business. Few ids and moments, so that events
share windows, hours and days. Every event is accepted by the contract, and each (client_id,
event_id, timestamp) comes once. With them come lines that are refused or suppressed, of which only
the sequence numbers that they have used are kept: `used_by` lists them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from tests.properties import ai_streams
from tests.properties.client_streams import (
    ABSENT,
    AS_OFS,
    DAY,
    EVENT_CLIENT_IDS,
    EVENT_IDS,
    FIRST_DAY,
    FUTURE,
    HOUR,
    MICROSECOND,
    OFFSETS,
    PLATFORM,
    client_entities,
    lead_stories,
    subscription_stories,
)
from tests.properties.strategies import RECEIVED_AT
from tests.properties.traffic_streams import given, identity, not_after_future, written
from tests.reference.intake import used_sequence

__all__ = ["AS_OFS", "operations_streams", "used_by"]

Event = dict[str, Any]
Line = dict[str, Any]
Entity = dict[str, Any]
# Events, clients, users, and lines that are not accepted.
Stream = tuple[list[Event], list[Entity], list[Entity], list[Line]]
Moments = st.SearchStrategy[datetime]

MINUTE = timedelta(minutes=1)
FIVE_MINUTES = timedelta(minutes=5)
# As long before a look as its periods reach back, and where windows of the clock end.
LENGTHS = (HOUR, DAY, 7 * DAY, 30 * DAY)
EDGES = (
    *(as_of + nudge for as_of in AS_OFS for nudge in (-MICROSECOND, timedelta())),
    *(as_of - length for as_of in AS_OFS for length in LENGTHS),
    *(as_of - length - MICROSECOND for as_of in AS_OFS for length in LENGTHS),
    *(as_of - number * FIVE_MINUTES for as_of in AS_OFS for number in (1, 2)),
    FIRST_DAY,
    FIRST_DAY + 30 * DAY - MICROSECOND,
    FIRST_DAY + 30 * DAY,
    FUTURE,
)
STEPS = (
    timedelta(),
    MICROSECOND,
    MINUTE,
    FIVE_MINUTES - MICROSECOND,
    FIVE_MINUTES,
    HOUR,
    11 * HOUR,
    DAY,
    31 * DAY,
    -MICROSECOND,
    -FIVE_MINUTES,
    -DAY,
)
USER_IDS = ("ann", "bob", "sam")
SESSION_IDS = ("s-1", "s-2", "", None, ABSENT)
ENDPOINTS = ("/v1/chat", "/v1/chat/", "")
METHODS = ("GET", "POST", "get")
# Calls of a window and how many of them fail: on both sides of 20 calls, and of 5, 20 and 50 %.
OUTAGES = (
    (20, 1),
    (20, 2),
    (21, 2),
    (20, 4),
    (20, 5),
    (20, 10),
    (20, 11),
    (20, 20),
    (40, 2),
    (40, 3),
    (19, 19),
    (19, 1),
    (20, 0),
    (1, 1),
    (0, 0),
)
OK_STATUSES = (200, 399, 100, 204.0)
ERROR_STATUSES = (400, 599, 404, 500.0)
RESPONSE_TIMES = (0, 1, 2, 2.5, 10, 100.25, 33, 1e-07)
SERVERS = ("web-1", "web-2")
METRICS = ("cpu_usage", "memory_usage", "disk", "CPU_usage", "")
READINGS = (0, 0.005, 1, 2.5, 97.125, 33.333, -4, 100.0, 10**15, -(10**15))
PLAN_TYPES = ("pro", "basic", "", "none", None, ABSENT)
# Few digits: a float can write them again. Means of three of them do not end.
AMOUNTS = (0, 0.1, 0.2, 1, 20, 20.5, 99.99, 0.000001, 100, 10**15)
FEATURES = ("search", "export", "")
COSTS = (0, 0.005, 0.015, 0.1, 1.25, 3, 1e-08, None, ABSENT, ABSENT)
VIEWS = ("sales", "", "none", None, ABSENT)
DASHBOARD_EVENTS = ("analytics.dashboard_view", "analytics.filter_change", "analytics.export")
# Two instances of a site, and the site itself as a program of its own.
PRODUCERS = ("web", "web/1", "web/2", "app", "")
NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 12, 10**15)


@st.composite
def operations_streams(draw: st.DrawFn) -> Stream:
    """Events in no order, entities, other lines; look at them from any of AS_OFS."""
    at = st.sampled_from(draw(_moments()))
    # Left alone, lists stay short: most streams shall be long enough for events to meet.
    fewest = draw(st.sampled_from((10, 10, 5, 0)))
    parts = draw(
        st.lists(
            st.one_of(
                outages(at),
                st.lists(calls(at), min_size=1, max_size=4),
                st.lists(readings(at), min_size=1, max_size=5),
                st.lists(payments(at), min_size=1, max_size=4),
                st.lists(credits(at), min_size=1, max_size=3),
                st.lists(chats(at), min_size=1, max_size=4),
                st.lists(uses(at), min_size=1, max_size=4),
                numbered(at),
                numbered(at),
                lead_stories(at),
                subscription_stories(at),
            ),
            min_size=fewest,
            max_size=16,
        )
    )
    by_identity = {identity(event): event for part in parts for event in part}
    events = draw(st.permutations(list(by_identity.values())))
    clients = [
        draw(client_entities(client_id, at))
        for client_id in ("acme", "quiet", PLATFORM)
        if draw(st.integers(0, 2))
    ]
    users = [
        draw(user_entities(user_id, events)) for user_id in USER_IDS if draw(st.integers(0, 3))
    ]
    others = draw(st.lists(lost_lines(at), max_size=5))
    return events, clients, users, others


def used_by(lines: Iterable[Line]) -> list[tuple[str, int, date]]:
    """Return the sequence numbers that these lines have used, as often as they did."""
    found = (used_sequence(line, RECEIVED_AT) for line in lines)
    return [used for used in found if used is not None]


@st.composite
def _moments(draw: st.DrawFn) -> list[datetime]:
    """The moments of one stream: a few edges and days, and what lies a step away from them."""
    day = st.integers(0, 240).map(lambda number: FIRST_DAY + number * DAY)
    edge = st.sampled_from(EDGES)
    anchors = draw(st.lists(st.one_of(edge, edge, day), min_size=1, max_size=4, unique=True))
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=3, unique=True))
    near = (anchor + step for anchor in anchors for step in (timedelta(), *steps))
    return sorted({not_after_future(moment) for moment in near})


@st.composite
def outages(draw: st.DrawFn, at: Moments) -> list[Event]:
    """Windows next to each other, full of calls of which some fail; drawn in one go each."""
    client_id = draw(st.sampled_from(EVENT_CLIENT_IDS))
    # Often about a look, whose last windows are not complete yet or have none after them.
    moment = draw(st.one_of(at, st.sampled_from(AS_OFS)))
    minutes = timedelta(minutes=moment.minute % 5)
    window = moment.replace(second=0, microsecond=0) - minutes
    window += draw(st.sampled_from((0, -1, -1, -2, -3))) * FIVE_MINUTES
    first_id = draw(st.integers(0, 2**64)) << 32
    error_status = draw(st.sampled_from(ERROR_STATUSES))
    made = []
    for number, (count, errors) in enumerate(
        draw(st.lists(st.sampled_from(OUTAGES), min_size=1, max_size=4))
    ):
        start = window + number * FIVE_MINUTES
        for call in range(count):
            # The first at the window's start, the last just before its end.
            moment = start + (FIVE_MINUTES - MICROSECOND) * call / max(1, count - 1)
            made.append(
                {
                    "event_id": str(UUID(int=first_id + number * 1000 + call)),
                    "event": "api_request",
                    "timestamp": written(not_after_future(moment), 0),
                    "actor": {"client_id": client_id},
                    "properties": {
                        "endpoint": ENDPOINTS[call % 2],
                        "method": METHODS[call % 3 % 2],
                        "response_time_ms": RESPONSE_TIMES[call % len(RESPONSE_TIMES)],
                        "status_code": (
                            error_status if call < errors else OK_STATUSES[call % len(OK_STATUSES)]
                        ),
                    },
                }
            )
    return made


@st.composite
def calls(draw: st.DrawFn, at: Moments) -> Event:
    """A call by itself, that fails or does not."""
    properties = {
        "endpoint": draw(st.sampled_from(ENDPOINTS)),
        "method": draw(st.sampled_from(METHODS)),
        "response_time_ms": draw(st.sampled_from(RESPONSE_TIMES) | st.just(10**15)),
        "status_code": draw(st.sampled_from((*OK_STATUSES, *ERROR_STATUSES))),
        "error_message": draw(st.sampled_from(("too late", "", None, ABSENT))),
    }
    return draw(_event("api_request", at, given(properties)))


@st.composite
def readings(draw: st.DrawFn, at: Moments) -> Event:
    """A reading of any of few servers, under any client."""
    properties = {
        "metric_type": draw(st.sampled_from(METRICS)),
        "metric_value": draw(st.sampled_from(READINGS)),
        "server_id": draw(st.sampled_from(SERVERS)),
    }
    return draw(_event("system_metric", at, properties))


@st.composite
def payments(draw: st.DrawFn, at: Moments) -> Event:
    """A payment or a refund."""
    amounts = st.sampled_from(AMOUNTS) | st.decimals(0, 1000, places=6).map(float)
    properties = {
        "type": draw(st.sampled_from(("subscription", "upgrade", "purchase", "refund"))),
        "amount_usd": draw(amounts),
        "plan_type": draw(st.sampled_from(PLAN_TYPES)),
        "payment_provider": draw(st.sampled_from(("bank", "", None, ABSENT))),
        "payment_id": draw(st.sampled_from(("p-1", None, ABSENT))),
    }
    return draw(_event("revenue", at, given(properties), user_ids=USER_IDS))


@st.composite
def credits(draw: st.DrawFn, at: Moments) -> Event:
    """Credits used, of a known cost or none."""
    properties = {
        "feature_name": draw(st.sampled_from(FEATURES)),
        "credits_used": draw(st.sampled_from((0, 0.1, 0.2, 1, 2.5, 10**15))),
        "cost_usd": draw(st.sampled_from(COSTS)),
    }
    return draw(_event("credit_used", at, given(properties), user_ids=USER_IDS))


@st.composite
def chats(draw: st.DrawFn, at: Moments) -> Event:
    """A chat that adds to what limits are held against; tokens and costs may be missing."""
    cost = st.sampled_from(COSTS)
    properties = {
        "tokens_prompt": draw(st.sampled_from((0, 1, 8, 10, 79, 80, 100.0, None, ABSENT))),
        "tokens_completion": draw(st.sampled_from((0, 1, 2, 20, None, ABSENT))),
        "cost_prompt": draw(cost),
        "cost_completion": draw(cost),
        "cost_cached": draw(cost),
        "response_time_ms": draw(st.sampled_from((*RESPONSE_TIMES, None))),
    }
    return draw(_event("chat", at, given(properties)))


@st.composite
def uses(draw: st.DrawFn, at: Moments) -> Event:
    """Somebody at work in the builder, at a dashboard or in the app; what a client is billed."""
    name = draw(
        st.sampled_from(("builder_action", *DASHBOARD_EVENTS, "session", "signup", "api_cost"))
    )
    properties: dict[str, Any] = {}
    if name == "builder_action":
        properties = {"action": draw(st.sampled_from(("save", "publish", "")))}
    elif name in DASHBOARD_EVENTS:
        properties = {"view": draw(st.sampled_from(VIEWS)), "format": "pdf"}
    elif name == "api_cost":
        properties = {"cost_cents": draw(st.sampled_from((0, 1, 250, 100.0))), "service": "llm"}
    event = draw(_event(name, at, given(properties)))
    if name == "session":
        event["actor"]["unit_id"] = "u-1"
    return event


@st.composite
def numbered(draw: st.DrawFn, at: Moments) -> list[Event]:
    """Events of a producer with numbers: in any order, with holes, some of them twice."""
    producer = draw(st.sampled_from(PRODUCERS))
    made = []
    for number in draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=6)):
        event = draw(_event("signup", at, {}))
        event["context"] = given(
            {
                **(event.get("context") or {}),
                "producer": draw(st.sampled_from((*[producer] * 8, None, ABSENT))),
                "sequence": draw(st.sampled_from((*[number] * 7, float(number), None, ABSENT))),
                "dropped": draw(st.sampled_from((*[ABSENT] * 5, None, 0, 2, 3.0))),
            }
        )
        made.append(event)
    return made


@st.composite
def lost_lines(draw: st.DrawFn, at: Moments) -> Line:
    """A line that is refused or suppressed, and may have used a number."""
    line = draw(_event(draw(st.sampled_from(("session", "nothing_planned", "signup"))), at, {}))
    line["actor"]["unit_id"] = "u-1"
    line["context"] = {
        "producer": draw(st.sampled_from(PRODUCERS)),
        "sequence": draw(st.sampled_from(NUMBERS)),
    }
    if line["event"] == "session":
        line["context"]["dnt"] = True
    elif line["event"] == "signup":
        match draw(st.integers(0, 2)):
            case 0:
                # Then the day is that of receipt.
                line["timestamp"] = "yesterday"
            case 1:
                line["actor"]["client_id"] = ""
            case _:
                line["context"]["sequence"] = -1
    return line


@st.composite
def _event(
    draw: st.DrawFn,
    name: str,
    at: Moments,
    properties: dict[str, Any],
    user_ids: tuple[object, ...] = (*USER_IDS, *USER_IDS, "", None, ABSENT),
) -> Event:
    actor = {
        "client_id": draw(st.sampled_from(EVENT_CLIENT_IDS)),
        "user_id": draw(st.sampled_from(user_ids)),
    }
    context = given({"session_id": draw(st.sampled_from(SESSION_IDS))})
    event = {
        "event_id": draw(st.sampled_from(EVENT_IDS) | st.uuids().map(str)),
        "event": name,
        "timestamp": written(draw(at), draw(st.sampled_from(OFFSETS))),
        "actor": given(actor),
        "context": context or draw(st.sampled_from((ABSENT, None))),
        "properties": properties or draw(st.sampled_from((ABSENT, None, {}))),
    }
    return given(event)


@st.composite
def user_entities(draw: st.DrawFn, user_id: str, events: list[Event]) -> Entity:
    """A user created before, at or after the look, with limits near what a month comes to."""
    user = draw(ai_streams.user_entities(user_id, events))
    created_at = draw(st.sampled_from((FIRST_DAY, FIRST_DAY, *EDGES)))
    user["created_at"] = written(created_at, draw(st.sampled_from(OFFSETS)))
    # A cost of 0.1 is 80 percent of the first of these.
    if not draw(st.integers(0, 2)):
        user["monthly_cost_limit"] = draw(st.sampled_from((0.125, 2)))
    return user
