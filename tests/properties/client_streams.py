"""Random tenants and what happens to them, made so that the rules of the clients' marts meet.

Few leads, subscriptions and moments, so that events share days, instants and people. Every event
is accepted by the contract, and each (client_id, event_id, timestamp) comes once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any

from hypothesis import strategies as st

from tests.reference.intake import instant

Event = dict[str, Any]
Entity = dict[str, Any]
Stream = tuple[list[Event], list[Entity], list[Entity]]
Moments = st.SearchStrategy[datetime]

MICROSECOND = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NINETY_DAYS = timedelta(hours=90 * 24)
# A member that is not there at all, where None is one that is null.
ABSENT = object()


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# The instants to look from: at and around the first of a year, a month and a week; when the leads
# of November, December and March become mature, and just before that.
AS_OFS = (
    _at("2025-01-01T00:00"),
    _at("2025-01-01T00:00") + MICROSECOND,
    _at("2025-01-05T23:59:59.999999"),
    _at("2025-01-06T00:00"),
    _at("2025-02-28T23:59:59.999999"),
    _at("2025-03-01T00:00"),
    _at("2025-03-17T09:30"),
    _at("2025-04-01T00:00"),
    _at("2025-04-01T00:00") + MICROSECOND,
    _at("2025-06-30T00:00") - MICROSECOND,
    _at("2025-06-30T00:00"),
    _at("2025-12-31T23:59:59.999999"),
)
FIRST_DAY = _at("2024-11-01T00:00")
# Ahead of every look.
FUTURE = _at("2026-01-05T12:00")
EDGES = (
    *(as_of + nudge for as_of in AS_OFS for nudge in (-MICROSECOND, timedelta(), MICROSECOND)),
    FIRST_DAY,
    _at("2024-11-30T23:59:59.999999"),
    _at("2024-12-01T00:00"),
    # The first week of 2025 begins in 2024, that of 2026 in 2025.
    _at("2024-12-29T23:59:59.999999"),
    _at("2024-12-30T00:00"),
    _at("2025-01-31T23:59:59.999999"),
    _at("2025-02-01T00:00"),
    _at("2025-03-16T23:59:59.999999"),
    _at("2025-03-17T00:00"),
    _at("2025-12-28T23:59:59.999999"),
    _at("2025-12-29T00:00"),
    FUTURE,
)
# A leap day, so long ago that it makes spans long; few streams have it.
LEAP_DAY = (_at("2024-02-29T23:59:59.999999"), _at("2024-03-01T00:00"))
# Where the contract draws lines between two events: the bounds of response times, days, weeks, the
# 90 days, each with its neighbours.
STEPS = (
    timedelta(),
    MICROSECOND,
    *(
        timedelta(seconds=bound) + nudge
        for bound in (60, 300, 900, 3600)
        for nudge in (timedelta(), MICROSECOND)
    ),
    timedelta(seconds=1, milliseconds=500),
    11 * HOUR,
    DAY - MICROSECOND,
    DAY,
    3 * DAY,
    7 * DAY,
    31 * DAY,
    NINETY_DAYS - MICROSECOND,
    NINETY_DAYS,
    -MICROSECOND,
    -HOUR,
    -2 * DAY,
)

PLATFORM = "_platform"
# The last of the clients has no entity, whatever happens.
CLIENT_IDS = ("acme", "globex", "unlisted")
EVENT_CLIENT_IDS = ("acme", "acme", "acme", "globex", "globex", "unlisted", PLATFORM)
LEAD_IDS = ("l-1", "l-2", "l-3", "l-4")
USER_IDS = ("ann", "bob", "sam")
# One is called like a lead.
CONVERSATION_IDS = ("c-1", "c-2", "l-1", "", None)
# One is called as leads without a source are counted.
SOURCES = ("missed_call", "web_form", "referral", "Referral", "fair", "other", "", None)
CAMPAIGNS = ("spring", "", None)
STAGES = ("new", "qualifying", "nurturing", "hot", "booked", "lost")
SUBSCRIPTION_IDS = ("s-1", "s-2", "")
PLANS = ("basic", "pro", "")
# More than keep their names in a client's day; by code point, and not as in a dictionary, in order.
MANY_PLANS = (*PLANS, "other", "Z", "z", "\u00e9", "\uffee", "\U0001f600", *map(str, range(20)))
EVENT_IDS = (
    "00000000-0000-0000-0000-000000000000",
    "0b7c2c1e-5d0e-4c57-9c2e-2f6d3a1b9e01",
    "7fffffff-ffff-4fff-bfff-ffffffffffff",
    "80000000-0000-4000-8000-000000000000",
    "a0000000-0000-4000-8000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
)
# The offsets, in minutes, that timestamps are written with. They move many to another day.
OFFSETS = (0, 0, 0, 330, -570, 840)
FUNNEL_STEPS = (
    "first_response",
    "qualified",
    "appointment_booked",
    "quote_sent",
    "job_won",
)
LEAD_EVENTS = (
    "lead_created",
    "lead_stage_changed",
    "message",
    "escalation_opened",
    "first_response",
    "qualified",
    "appointment_booked",
    "quote_requested",
    "quote_sent",
    "quote_accepted",
    "job_won",
    "job_lost",
    "invoice_sent",
    "payment_received",
    "review_requested",
    "review_received",
)
OTHER_EVENTS = ("api_cost", "revenue", "chat", "chat_feedback", "signup", "session", "page_view")


@st.composite
def client_streams(draw: st.DrawFn) -> Stream:
    """Events in no order, clients and users; look at them from any of AS_OFS."""
    at = st.sampled_from(draw(_moments()))
    # Left alone, lists stay short: most streams shall be long enough for events to meet.
    fewest = draw(st.sampled_from((20, 20, 10, 0)))
    parts = draw(
        st.lists(
            st.one_of(
                lead_stories(at),
                lead_stories(at),
                talks(at),
                stage_stories(at),
                settlements(at),
                subscription_stories(at),
                subscription_stories(at),
                crowds_of_plans(at),
                st.lists(lead_events(at), min_size=1, max_size=6),
                st.lists(other_events(at), min_size=1, max_size=4),
            ),
            min_size=fewest,
            max_size=28,
        )
    )
    by_identity = {_identity(event): event for part in parts for event in part}
    events = draw(st.permutations(list(by_identity.values())))
    clients = [
        draw(client_entities(client_id, at))
        for client_id in ("acme", "globex", "quiet", PLATFORM)
        if draw(st.integers(0, 3))
    ]
    users = [
        draw(user_entities(user_id, at))
        for user_id in (*USER_IDS, "never-seen")
        if draw(st.booleans())
    ]
    return events, clients, users


def _identity(event: Event) -> tuple[str, str, datetime]:
    return event["actor"]["client_id"], event["event_id"], instant(event["timestamp"])


@st.composite
def _moments(draw: st.DrawFn) -> list[datetime]:
    """The moments of one stream: a few edges and days, and what lies a step away from them."""
    days = st.integers(0, (_at("2025-06-30T00:00") - FIRST_DAY).days)
    day = days.map(lambda number: FIRST_DAY + number * DAY)
    edge = st.sampled_from(EDGES)
    anchors = draw(st.lists(st.one_of(edge, edge, day), min_size=1, max_size=5, unique=True))
    if draw(st.integers(0, 19)) == 0:
        anchors.append(draw(st.sampled_from(LEAP_DAY)))
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=4, unique=True))
    near = (anchor + step for anchor in anchors for step in (timedelta(), *steps))
    return sorted({moment for moment in near if moment <= FUTURE})


@st.composite
def lead_stories(draw: st.DrawFn, at: Moments) -> list[Event]:
    """A lead created, perhaps again or never, that takes steps of the funnel, often in order."""
    client_id, lead_id = draw(_clients()), draw(st.sampled_from(LEAD_IDS))
    now = draw(at)
    story = []
    if draw(st.integers(0, 5)):
        story.append(draw(_lead_event("lead_created", client_id, lead_id, now)))
    if not draw(st.integers(0, 3)):
        story.append(draw(_lead_event("lead_created", client_id, lead_id, draw(at))))
    for step in FUNNEL_STEPS:
        now = _not_after_future(now + draw(st.sampled_from(STEPS)))
        if draw(st.integers(0, 3)):
            story.append(draw(_lead_event(step, client_id, lead_id, now)))
    return story


@st.composite
def talks(draw: st.DrawFn, at: Moments) -> list[Event]:
    """Messages of one lead at its client, a step or nothing apart."""
    client_id, lead_id = draw(_clients()), draw(st.sampled_from(LEAD_IDS))
    now = draw(at)
    talk = []
    for _ in range(draw(st.integers(2, 7))):
        talk.append(draw(_lead_event("message", client_id, lead_id, now)))
        now = _not_after_future(now + draw(st.sampled_from(STEPS[:-3])))
    return talk


@st.composite
def settlements(draw: st.DrawFn, at: Moments) -> list[Event]:
    """What follows a job: invoices, payments of more or less than them, reviews."""
    client_id, lead_id = draw(_clients()), draw(st.sampled_from(LEAD_IDS))
    now = draw(at)
    settlement = []
    for name in draw(
        st.sampled_from(
            (
                ("invoice_sent", "payment_received", "review_requested", "review_received"),
                ("payment_received", "payment_received", "invoice_sent"),
                ("invoice_sent", "invoice_sent", "payment_received"),
                ("review_received", "review_received", "review_received"),
                ("escalation_opened", "message", "job_lost"),
            )
        )
    ):
        settlement.append(draw(_lead_event(name, client_id, lead_id, now)))
        now = _not_after_future(now + draw(st.sampled_from((timedelta(), HOUR, DAY, 31 * DAY))))
    return settlement


@st.composite
def stage_stories(draw: st.DrawFn, at: Moments) -> list[Event]:
    """A lead that changes its stage, now and then twice at one instant."""
    client_id, lead_id = draw(_clients()), draw(st.sampled_from(LEAD_IDS))
    moments = draw(st.lists(at, min_size=1, max_size=4))
    twice = draw(st.booleans())
    return [
        draw(_lead_event("lead_stage_changed", client_id, lead_id, moment))
        for moment in (*moments, *moments[: 1 if twice else 0])
    ]


@st.composite
def crowds_of_plans(draw: st.DrawFn, at: Moments) -> list[Event]:
    """A client with many subscriptions, each on a plan of its own but for a few."""
    client_id, moment = draw(_clients()), draw(at)
    plans = draw(st.permutations(MANY_PLANS))
    amounts = draw(st.lists(st.sampled_from((0, 0, 1, 2)), min_size=25, max_size=28))
    story = []
    for number, amount in enumerate(amounts):
        # Two of each of the first three plans: as many subscriptions decide between equal sums.
        plan = plans[number if number > 2 else number + 3]
        properties = {"subscription_id": f"s-{number}", "plan": plan, "mrr_cents": amount}
        story.append(draw(_event("subscription_started", client_id, moment, properties)))
    return story


@st.composite
def subscription_stories(draw: st.DrawFn, at: Moments) -> list[Event]:
    """A subscription that starts, changes, ends and perhaps lives again, also within one day."""
    client_id, subscription_id = draw(_clients()), draw(st.sampled_from(SUBSCRIPTION_IDS))
    kinds = draw(
        st.sampled_from(
            (
                ("started", "changed", "changed", "changed"),
                ("started", "cancelled", "started"),
                ("started", "changed", "cancelled", "changed", "cancelled"),
                ("changed", "cancelled", "changed", "changed"),
                ("started", "cancelled"),
                ("cancelled", "changed"),
                ("cancelled",),
            )
        )
    )
    now = draw(at)
    story = []
    for kind in kinds:
        properties = {"subscription_id": subscription_id}
        if kind != "cancelled":
            properties["plan"] = draw(st.sampled_from(PLANS))
            properties["mrr_cents"] = draw(cents())
        elif draw(st.booleans()):
            # Not planned for a cancellation, which ends the subscription whatever it says.
            properties["mrr_cents"] = 7
        story.append(draw(_event(f"subscription_{kind}", client_id, now, properties)))
        now = _not_after_future(
            now + draw(st.sampled_from((timedelta(), HOUR, DAY, DAY, 3 * DAY, 31 * DAY)))
        )
    return story


@st.composite
def lead_events(draw: st.DrawFn, at: Moments) -> Event:
    """Any event of a lead by itself."""
    name = draw(st.sampled_from(LEAD_EVENTS))
    lead_id = draw(st.sampled_from(LEAD_IDS))
    return draw(_lead_event(name, draw(_clients()), lead_id, draw(at)))


@st.composite
def other_events(draw: st.DrawFn, at: Moments) -> Event:
    """Events of no lead. Any of them keeps its client and user active."""
    name = draw(st.sampled_from(OTHER_EVENTS))
    properties: dict[str, Any] | None = None
    if name == "api_cost":
        properties = {"cost_cents": draw(cents()), "service": "llm"}
    elif name == "revenue":
        # A person's payment to us, no revenue that is attributed to the client.
        properties = {
            "type": draw(st.sampled_from(("subscription", "upgrade", "purchase", "refund"))),
            "amount_usd": 20.5,
        }
    elif name == "chat_feedback":
        properties = {"message_id": "m-1", "rating": 1}
    event = draw(_event(name, draw(_clients()), draw(at), properties))
    if name == "revenue":
        event["actor"]["user_id"] = draw(st.sampled_from(USER_IDS))
    if name == "session":
        event["actor"]["unit_id"] = "u-1"
        event["context"] = {"source": "api"}
    if name == "page_view":
        event["context"] = {"source": "api", "page": {"path": "/"}}
    return event


@st.composite
def _lead_event(
    draw: st.DrawFn, name: str, client_id: str, lead_id: str, moment: datetime
) -> Event:
    required, optional = _properties_of(name)
    members = draw(st.fixed_dictionaries(required, optional=optional))
    if not draw(st.integers(0, 5)):
        members = draw(_unplanned()) | members
    properties = _given(members)
    # Properties may be missing or null as a whole, where they need not hold anything.
    given = properties or draw(st.sampled_from(({}, None, ABSENT)))
    event = draw(_event(name, client_id, moment, given))
    event["actor"]["lead_id"] = lead_id
    return event


@cache
def _unplanned() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "lead_id": st.just("l-9"),
            "extra": st.just({"tags": ["a", None], "depth": {"of": 2.5}}),
            "nothing": st.none(),
        },
    )


@cache
def _properties_of(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The properties that such an event must have, and those that it may have."""
    match name:
        case "lead_created":
            return {}, {
                "source": st.sampled_from(SOURCES),
                "campaign": st.sampled_from(CAMPAIGNS),
            }
        case "lead_stage_changed":
            return {"stage": st.sampled_from(STAGES)}, {}
        case "message":
            return {
                # Mostly what makes sense; the rest is accepted as well.
                "direction": st.sampled_from(("inbound", "outbound")),
                "sender_type": st.sampled_from(("lead", "ai", "ai", "human")),
            }, {"conversation_id": st.sampled_from(CONVERSATION_IDS)}
        case "quote_sent":
            return {}, {"value_cents": st.one_of(cents(), st.none())}
        case "job_won" | "invoice_sent" | "payment_received":
            return {"value_cents": cents()}, {}
        case "review_received":
            return {"rating": st.sampled_from((1, 2, 3, 4, 5, 5, 5.0))}, {
                "platform": st.sampled_from(("here", None))
            }
        case "first_response":
            return {}, {"response_time_seconds": st.sampled_from((0, 12.5, None))}
        case "qualified" | "appointment_booked":
            # The plan gives these no value: it may be anything, and counts nowhere.
            return {}, {"value_cents": st.sampled_from((9, 1.5, "much", None))}
        case _:
            return {}, {"reason": st.sampled_from(("", "why not", None))}


@cache
def cents() -> st.SearchStrategy[float]:
    """Amounts whose shares come to halves, and now and then the largest that may be."""
    small = st.sampled_from((0, 1, 2, 3, 8, 100, 100.0, 200, 201))
    return st.one_of(small, small, st.integers(0, 100_000), st.sampled_from((0, 5, 10**15)))


@st.composite
def _event(
    draw: st.DrawFn, name: str, client_id: str, moment: datetime, properties: object
) -> Event:
    actor = {
        "client_id": client_id,
        "user_id": draw(st.sampled_from((*USER_IDS, "", None, ABSENT, ABSENT))),
    }
    return _given(
        {
            "event_id": draw(st.sampled_from(EVENT_IDS) | st.uuids().map(str)),
            "event": name,
            "timestamp": _written(moment, draw(st.sampled_from(OFFSETS))),
            "actor": _given(actor),
            "properties": properties,
        }
    )


@cache
def _clients() -> st.SearchStrategy[str]:
    return st.sampled_from(EVENT_CLIENT_IDS)


def _not_after_future(moment: datetime) -> datetime:
    return min(moment, FUTURE)


def _written(moment: datetime, offset: int) -> str:
    text = moment.astimezone(timezone(timedelta(minutes=offset))).isoformat()
    return text.replace("+00:00", "Z") if offset == 0 else text


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not ABSENT}


@st.composite
def client_entities(draw: st.DrawFn, client_id: str, at: Moments) -> Entity:
    """A client created before, at or after the look, churned or not, perhaps before it began."""
    created_at = draw(_created(at))
    churned_at = draw(
        st.one_of(
            st.none(),
            st.none(),
            st.just(ABSENT),
            st.sampled_from(EDGES),
            at,
            st.sampled_from((timedelta(), 40 * DAY, 100 * DAY, -DAY)).map(
                lambda later: _not_after_future(created_at + later)
            ),
        )
    )
    has_churned = isinstance(churned_at, datetime)
    return _given(
        {
            "client_id": client_id,
            "name": draw(st.sampled_from(("Somebody", None))),
            # What the status says does not matter.
            "status": draw(
                st.sampled_from(("active", "paused", *(["churned"] if has_churned else []), None))
            ),
            "plan": draw(st.sampled_from(("pro", None))),
            "created_at": _written(created_at, draw(st.sampled_from(OFFSETS))),
            "churned_at": (
                _written(churned_at, draw(st.sampled_from(OFFSETS))) if has_churned else churned_at
            ),
            "updated_at": "2025-05-01T00:00:00Z",
        }
    )


@st.composite
def user_entities(draw: st.DrawFn, user_id: str, at: Moments) -> Entity:
    """A user created before, at or after the look."""
    return {
        "user_id": user_id,
        "client_id": draw(st.sampled_from((*CLIENT_IDS, None))),
        "role": draw(st.sampled_from(("admin", "member", None))),
        "plan": draw(st.sampled_from(("pro", None))),
        "monthly_message_limit": draw(st.sampled_from((0, 5, None))),
        "monthly_token_limit": draw(st.sampled_from((1000, None))),
        "monthly_cost_limit": draw(st.sampled_from((0.3, None))),
        "created_at": _written(draw(_created(at)), draw(st.sampled_from(OFFSETS))),
        "updated_at": "2025-05-01T00:00:00Z",
    }


def _created(at: Moments) -> Moments:
    """Moments within the winter, at edges, and where something happens."""
    days = (_at("2025-04-30T00:00") - FIRST_DAY).days
    winter = st.integers(0, days).map(lambda number: FIRST_DAY + number * DAY + 8 * HOUR)
    return st.one_of(winter, winter, st.sampled_from(EDGES), at)
