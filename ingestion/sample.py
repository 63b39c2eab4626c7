"""A seeded sample of a small business: 120 days of events and the entities they speak of.

The sample holds what a real feed holds: stories that make sense (a lead asks, is answered,
books, pays and rates), growth, weekends, churn, events that come late or twice, lines without
consent and lines that break the contract. The same seed gives the same bytes.

Three steps, each a few functions of its own: a *world* (clients, users, units, documents) is
drawn, *families* of events are told about it, and the events become *lines* that arrive.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from ingestion import private

Json = dict[str, Any]

SAMPLE_DAYS = 120
SAMPLE_AS_OF = datetime(2026, 5, 1, tzinfo=UTC)
SAMPLE_START = SAMPLE_AS_OF - timedelta(days=SAMPLE_DAYS)

DAY = timedelta(days=1)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
PLATFORM_ID = "_platform"

STORY_END = SAMPLE_AS_OF + DAY
"""Stories begin until here: from the day too many come the few events after `SAMPLE_AS_OF`."""

LAST_SPILL = SAMPLE_AS_OF + timedelta(days=24)
"""Events after this are not kept: the sample's events end within May 2026."""

# Visits and messages of a business day in North America, seen from UTC.
HOUR_WEIGHTS = tuple(
    accumulate((3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 6, 10, 13, 14, 13, 12, 12, 13, 12, 10, 7, 5))
)
WEEKDAY_LEVELS = (1.15, 1.2, 1.15, 1.1, 1.0, 0.5, 0.4)

# Creation by month, December first: clients of December were pilots, whose events begin in January.
CLIENTS_BY_MONTH = (12, 10, 8, 6, 4)
COHORT_MONTHS = tuple(
    datetime(year, month, 1, tzinfo=UTC)
    for year, month in ((2025, 12), (2026, 1), (2026, 2), (2026, 3), (2026, 4), (2026, 5))
)
USER_COUNT = 2_000
UNIT_COUNT = 900
DOCUMENT_COUNT = 60

CHURNED = {
    # client number: (when it churned, days for which its events still came)
    3: (datetime(2026, 2, 18, 15, tzinfo=UTC), 1),
    7: (datetime(2026, 3, 9, 10, tzinfo=UTC), 2),
    14: (datetime(2026, 3, 27, 12, tzinfo=UTC), 11),
    19: (datetime(2026, 4, 14, 9, tzinfo=UTC), 1),
}
PAUSED = {
    5: datetime(2026, 3, 2, 8, tzinfo=UTC),
    16: datetime(2026, 4, 6, 8, tzinfo=UTC),
    23: datetime(2026, 4, 1, 8, tzinfo=UTC),
}
RETURNING_CLIENT = 9  # cancels its subscription and comes back: reactivated MRR
UNLISTED_CLIENTS = ("partner-sandbox", "walk-in-demo")  # only events mention them
UNLISTED_USERS = 3


@dataclass(frozen=True)
class SampleFiles:
    """What was written: event files in the order to load them, entity files by kind."""

    events: tuple[Path, ...]
    entities: dict[str, Path]


def write_sample(directory: Path, *, seed: int = 7) -> SampleFiles:
    """Write the sample into `directory` (made if absent) and say which files it is.

    A file appears under its name only when whole; files of an earlier run are replaced.
    """
    private.make_folder(directory)
    world = _draw_world(Random(f"{seed}:world"))

    entities = {}
    for kind, rows in _entity_rows(world).items():
        entities[kind] = directory / f"{kind}.ndjson"
        _write(entities[kind], [_dumped(row) for row in rows])

    events: list[Event] = []
    for name, family in FAMILIES.items():
        events.extend(family(world, Random(f"{seed}:{name}")))

    files = _by_arrival(_lines(_settled(events, world, seed), seed))
    for name in EVENT_FILES:
        _write(directory / name, files[name])
    return SampleFiles(tuple(directory / name for name in EVENT_FILES), entities)


@dataclass(frozen=True)
class Client:
    """A tenant; `scale` is its size (1 is usual), `growth` what it gains over the sample."""

    client_id: str
    name: str
    plan: str
    created_at: datetime
    scale: float
    growth: float
    ai_share: float
    churned_at: datetime | None = None
    paused_at: datetime | None = None
    last_event_at: datetime = NEVER
    listed: bool = True

    @property
    def host(self) -> str:
        """The host name of the client's site."""
        return f"www.{self.client_id.strip('_')}.example"

    def level(self, day: datetime) -> float:
        """How busy the client is on a day: 0 before it exists and after it left."""
        if day + DAY <= self.created_at or day >= self.last_event_at:
            return 0.0
        quiet = 0.08 if self.paused_at is not None and day >= self.paused_at else 1.0
        grown = 1 + self.growth * ((day - SAMPLE_START) / (SAMPLE_AS_OF - SAMPLE_START))
        return self.scale * grown * quiet * WEEKDAY_LEVELS[day.weekday()]


@dataclass(frozen=True)
class User:
    """A person with a login; `appetite` is how often they come (1 is usual)."""

    user_id: str
    client: Client
    role: str
    plan: str
    created_at: datetime
    quits_at: datetime
    appetite: float
    listed: bool = True

    @property
    def actor(self) -> Json:
        """The actor members of something this user does."""
        return {"client_id": self.client.client_id, "user_id": self.user_id}


@dataclass(frozen=True)
class World:
    """Everything that events speak of."""

    clients: tuple[Client, ...]
    users: tuple[User, ...]
    units: tuple[Json, ...]
    documents: tuple[Json, ...]
    platform: Client


@dataclass(slots=True)
class Event:
    """An event before it is a line: no identity, no sequence and no arrival yet."""

    at: datetime
    name: str
    actor: Json
    properties: Json = field(default_factory=dict)
    context: Json = field(default_factory=dict)


def _poisson(rng: Random, mean: float) -> int:
    """A Poisson count by Knuth's multiplication; means here stay below a hundred."""
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def _moment(rng: Random, day: datetime) -> datetime:
    """An instant of the day, most likely in business hours, to the millisecond."""
    hour = rng.choices(range(24), cum_weights=HOUR_WEIGHTS)[0]
    return day + timedelta(hours=hour, milliseconds=rng.randrange(3_600_000))


def _later(rng: Random, at: datetime, mean_hours: float) -> datetime:
    """An instant after `at`, exponentially distributed, at least a second later."""
    seconds = 1 + rng.expovariate(1 / (mean_hours * 3600))
    return at + timedelta(milliseconds=round(seconds * 1000))


def _seconds(value: float) -> timedelta:
    return timedelta(milliseconds=max(1, round(value * 1000)))


def _chance(rng: Random, probability: float) -> bool:
    return rng.random() < probability


def _weighted(rng: Random, table: dict[Any, float]) -> Any:
    return rng.choices(tuple(table), weights=tuple(table.values()))[0]


def _uuid(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _present(**members: object) -> Json:
    """The members that are there, None left out."""
    return {name: value for name, value in members.items() if value is not None}


def _days() -> Iterator[datetime]:
    return (SAMPLE_START + n * DAY for n in range((STORY_END - SAMPLE_START).days))


def _client_moments(
    clients: Iterable[Client], rng: Random, per_day: float
) -> Iterator[tuple[Client, datetime]]:
    """Instants at which something happens at a client, `per_day` at level 1."""
    for client in clients:
        for day in _days():
            for _ in range(_poisson(rng, per_day * client.level(day))):
                at = _moment(rng, day)
                if at >= client.created_at:
                    yield client, at


def _user_moments(
    users: Iterable[User], rng: Random, per_day: float
) -> Iterator[tuple[User, datetime]]:
    """Instants at which a user is there, `per_day` at appetite 1, fewer at weekends."""
    for user in users:
        first = max(user.created_at, SAMPLE_START)
        length = min(user.quits_at, STORY_END) - first
        if length <= timedelta():
            continue
        for _ in range(_poisson(rng, per_day * user.appetite * (length / DAY))):
            day = datetime.combine(first + rng.random() * length, time(), UTC)
            at = _moment(rng, day)
            if _chance(rng, WEEKDAY_LEVELS[day.weekday()] / 1.2) and first <= at < user.quits_at:
                yield user, at


PLACES = ("Ashford", "Birchwood", "Cedar", "Harbor", "Juniper", "Lakeside", "Maple", "Northgate")
TRADES = ("Plumbing", "Roofing", "Electric", "Landscaping", "Heating", "Painting")
CITIES = ("Springfield", "Riverton", "Fairview", "Milton", "Georgetown")
ZONINGS = {"R-1": "residential", "R-3": "residential", "C-2": "commercial", "M-1": "industrial"}
DOCUMENT_KINDS = ("Zoning code", "Building regulations", "Development plan", "Parking bylaw")

CLIENT_PLANS = {"starter": 0.45, "growth": 0.38, "scale": 0.17}
USER_PLANS = {"free": 0.72, "pro": 0.21, "team": 0.07}
USER_LIMITS: dict[str, Json] = {
    "free": {"monthly_message_limit": 20, "monthly_token_limit": 60_000},
    "pro": {"monthly_message_limit": 150, "monthly_cost_limit": 0.1},
    "team": {},
}


def _draw_world(rng: Random) -> World:
    clients = _draw_clients(rng)
    return World(
        clients=clients,
        users=_draw_users(rng, clients),
        units=_draw_units(rng, clients),
        documents=_draw_documents(rng),
        platform=Client(PLATFORM_ID, "", "", SAMPLE_START, 12.0, 0.8, 0.0, listed=False),
    )


def _draw_clients(rng: Random) -> tuple[Client, ...]:
    names = rng.sample([f"{place} {trade}" for place in PLACES for trade in TRADES], 40)
    months = [n for n, clients in enumerate(CLIENTS_BY_MONTH) for _ in range(clients)]
    listed = [_draw_client(rng, number, name, months[number]) for number, name in enumerate(names)]
    unlisted = [
        Client(client_id, "", "starter", SAMPLE_START + n * 30 * DAY, 0.3, 0.0, 0.5, listed=False)
        for n, client_id in enumerate(UNLISTED_CLIENTS, start=1)
    ]
    return (*listed, *unlisted)


def _draw_client(rng: Random, number: int, name: str, month: int) -> Client:
    first, following = COHORT_MONTHS[month], COHORT_MONTHS[month + 1]
    churned_at, lingering = CHURNED.get(number, (None, 0))
    last = NEVER if churned_at is None else churned_at + lingering * DAY + timedelta(hours=7)
    return Client(
        client_id=name.lower().replace(" ", "-"),
        name=name,
        plan=_weighted(rng, CLIENT_PLANS),
        created_at=_moment(rng, first + rng.randrange((following - first).days - 3) * DAY),
        scale=min(3.0, max(0.4, rng.lognormvariate(0, 0.55))),
        growth=rng.uniform(-0.2, 1.4),
        ai_share=rng.uniform(0.35, 0.9),
        churned_at=churned_at,
        paused_at=PAUSED.get(number),
        last_event_at=last,
    )


def _draw_users(rng: Random, clients: Sequence[Client]) -> tuple[User, ...]:
    listed = [client for client in clients if client.listed]
    homes = listed * 3 + rng.choices(
        listed, weights=[client.scale for client in listed], k=USER_COUNT - 3 * len(listed)
    )
    users = [
        _draw_user(rng, number, client, is_admin=number <= len(listed) or _chance(rng, 0.04))
        for number, client in enumerate(homes, start=1)
    ]
    ghosts = [
        User(
            f"user-9{n:03d}",
            listed[n],
            "member",
            "free",
            SAMPLE_START + 20 * n * DAY,
            NEVER,
            3.0,
            listed=False,
        )
        for n in range(UNLISTED_USERS)
    ]
    return (*users, *ghosts)


def _draw_user(rng: Random, number: int, client: Client, *, is_admin: bool) -> User:
    left = min(client.churned_at or NEVER, client.paused_at or NEVER)
    span = min(left, SAMPLE_AS_OF) - client.created_at
    joined = client.created_at + span * (0.02 if is_admin else 0.98) * rng.random()
    joined = joined.replace(microsecond=joined.microsecond // 1000 * 1000)
    stays = 400 * DAY if is_admin else rng.expovariate(1 / 75) * DAY
    return User(
        user_id=f"user-{number:04d}",
        client=client,
        role="admin" if is_admin else "member",
        plan=_weighted(rng, USER_PLANS),
        created_at=joined,
        quits_at=min(joined + stays, left),
        appetite=min(14.0, rng.lognormvariate(-0.5, 1.0)),
    )


def _draw_units(rng: Random, clients: Sequence[Client]) -> tuple[Json, ...]:
    landlords = rng.sample([client for client in clients if client.listed], 18)
    return tuple(
        {
            "unit_id": f"unit-{number:04d}",
            "development_id": f"dev-{1 + number % len(landlords):02d}",
            "client_id": landlords[number % len(landlords)].client_id,
            "updated_at": _stamp(landlords[number % len(landlords)].created_at),
        }
        for number in range(1, UNIT_COUNT + 1)
    )


def _draw_documents(rng: Random) -> tuple[Json, ...]:
    documents = []
    for number in range(1, DOCUMENT_COUNT + 1):
        city, zoning = rng.choice(CITIES), rng.choice(tuple(ZONINGS))
        documents.append(
            {
                "document_id": f"doc-{number:03d}",
                "title": f"{rng.choice(DOCUMENT_KINDS)} of {city}, part {number}",
                "city": city,
                "zoning": zoning,
                "zone": ZONINGS[zoning],
                "updated_at": _stamp(SAMPLE_START - rng.randrange(200) * DAY),
            }
        )
    return tuple(documents)


def _entity_rows(world: World) -> dict[str, list[Json]]:
    """Entity rows by kind; superseded ones come last, for the newest `updated_at` to win."""
    clients = [client for client in world.clients if client.listed]
    changed = [client for client in clients if client.churned_at or client.paused_at]
    return {
        "clients": [_client_row(client) for client in clients]
        + [_client_row_at_creation(client) for client in changed],
        "units": list(world.units),
        "users": [_user_row(user) for user in world.users if user.listed],
        "documents": list(world.documents),
    }


def _client_row_at_creation(client: Client) -> Json:
    return {
        "client_id": client.client_id,
        "name": client.name,
        "status": "active",
        "plan": client.plan,
        "created_at": _stamp(client.created_at),
        "updated_at": _stamp(client.created_at),
    }


def _client_row(client: Client) -> Json:
    changed_at = client.churned_at or client.paused_at
    row = _client_row_at_creation(client)
    if changed_at is not None:
        row["status"] = "churned" if client.churned_at else "paused"
        row["churned_at"] = _stamp(client.churned_at) if client.churned_at else None
        row["updated_at"] = _stamp(changed_at)
    return row


def _user_row(user: User) -> Json:
    return {
        "user_id": user.user_id,
        "client_id": user.client.client_id,
        "role": user.role,
        "plan": user.plan,
        "created_at": _stamp(user.created_at),
        "updated_at": _stamp(user.created_at),
        **USER_LIMITS[user.plan],
    }


LEADS_PER_DAY = 0.5
LEAD_SOURCES = {
    "missed_call": 0.36,
    "web_form": 0.33,
    "referral": 0.17,
    "walk_in": 0.06,
    "partner": 0.05,
    None: 0.03,
}
LEAD_CAMPAIGNS = {None: 0.6, "spring-offer": 0.2, "emergency-callout": 0.12, "newsletter": 0.08}
LOSS_REASONS = ("price", "no_answer", "chose_competitor", "postponed", None)
ESCALATION_REASONS = ("complaint", "complex_question", "asked_for_human", None)
REVIEW_PLATFORMS = ("google", "yelp", "facebook", None)
RATINGS = {5: 0.58, 4: 0.22, 3: 0.1, 2: 0.05, 1: 0.05}


@dataclass(frozen=True)
class Lead:
    """One lead; its id is unique within its client only, as the contract has it."""

    client: Client
    lead_id: str
    created_at: datetime
    source: str | None
    conversation_id: str | None


def _lead_stories(world: World, rng: Random) -> Iterator[Event]:
    """All that leads do and have done to them, from asking to rating."""
    numbers: Counter[str] = Counter()
    for client, at in _client_moments(world.clients, rng, LEADS_PER_DAY):
        numbers[client.client_id] += 1
        number = numbers[client.client_id]
        lead = Lead(
            client=client,
            lead_id=f"lead-{number:04d}",
            created_at=at,
            source=_weighted(rng, LEAD_SOURCES),
            conversation_id=f"thread-{number:04d}" if _chance(rng, 0.9) else None,
        )
        yield from _lead_story(rng, lead)


def _lead_story(rng: Random, lead: Lead) -> Iterator[Event]:
    yield from _creation(rng, lead)
    talk = list(_talk(rng, lead))
    yield from talk
    replies = [event.at for event in talk if event.properties.get("direction") == "outbound"]
    if replies:
        waited = round((replies[0] - lead.created_at).total_seconds())
        yield _lead_event(lead, "first_response", replies[0], response_time_seconds=waited)
        yield _staged(lead, "qualifying", replies[0] + _seconds(2))
        yield from _sale(rng, lead, replies[0])
    elif _chance(rng, 0.3):
        yield _staged(lead, "lost", _later(rng, lead.created_at, 200))


def _lead_event(lead: Lead, name: str, at: datetime, **properties: object) -> Event:
    actor = {"client_id": lead.client.client_id, "lead_id": lead.lead_id}
    context = {"source": "runtime", "producer": "crm-core"}
    return Event(at, name, actor, _present(**properties), context)


def _staged(lead: Lead, stage: str, at: datetime) -> Event:
    return _lead_event(lead, "lead_stage_changed", at, stage=stage)


def _creation(rng: Random, lead: Lead) -> Iterator[Event]:
    """Nearly always one `lead_created`; an imported lead has none, a repeated form has two."""
    if _chance(rng, 0.012):
        return
    campaign = _weighted(rng, LEAD_CAMPAIGNS)
    yield _lead_event(lead, "lead_created", lead.created_at, source=lead.source, campaign=campaign)
    if _chance(rng, 0.01):
        yield _lead_event(lead, "lead_created", _later(rng, lead.created_at, 30), source="web_form")


def _message(lead: Lead, at: datetime, sender: str) -> Event:
    direction = "inbound" if sender == "lead" else "outbound"
    event = _lead_event(
        lead,
        "message",
        at,
        direction=direction,
        sender_type=sender,
        conversation_id=lead.conversation_id,
    )
    event.context = {"source": "runtime", "producer": "messaging-gateway"}
    return event


def _talk(rng: Random, lead: Lead) -> Iterator[Event]:
    """Messages and their answers: within seconds by the AI, later by people, some never."""
    at = lead.created_at + _seconds(rng.uniform(4, 60))
    if lead.source == "missed_call":
        yield _message(lead, at, "ai")
        if _chance(rng, 0.25):
            return
        at += _seconds(rng.lognormvariate(5, 1))
    while True:
        yield _message(lead, at, "lead")
        if _chance(rng, 0.15):
            at += _seconds(rng.uniform(3, 50))
            yield _message(lead, at, "lead")
        if _chance(rng, 0.09):
            return
        escalated = _chance(rng, 0.05)
        if escalated:
            at += _seconds(rng.uniform(1, 20))
            reason = rng.choice(ESCALATION_REASONS)
            yield _lead_event(lead, "escalation_opened", at, reason=reason)
        sender = "ai" if not escalated and _chance(rng, lead.client.ai_share) else "human"
        at += _answer_delay(rng, sender)
        yield _message(lead, at, sender)
        if _chance(rng, 0.4):
            return
        at += _seconds(rng.lognormvariate(7, 1.5))


def _answer_delay(rng: Random, sender: str) -> timedelta:
    """Seconds by the AI, minutes to hours by a person, and now and then the next day."""
    if sender == "ai":
        return _seconds(rng.lognormvariate(3.2, 0.9))
    if _chance(rng, 0.12):
        return _seconds(rng.uniform(10 * 3600, 22 * 3600))
    return _seconds(rng.lognormvariate(6.6, 1.1))


def _sale(rng: Random, lead: Lead, replied_at: datetime) -> Iterator[Event]:
    """From the first answer to a job, or to where the lead drops out."""
    if not _chance(rng, 0.7):
        yield from _dropped(rng, lead, replied_at, stage="nurturing")
        return
    hurried = _chance(rng, 0.05)  # noted before the answer went out: the ordered funnel skips it
    qualified_at = lead.created_at + _seconds(1) if hurried else _later(rng, replied_at, 9)
    yield _lead_event(lead, "qualified", qualified_at)
    yield _staged(lead, "hot", qualified_at + _seconds(3))
    if not _chance(rng, 0.66):
        yield from _dropped(rng, lead, max(qualified_at, replied_at), stage=None)
        return
    booked_at = _later(rng, max(qualified_at, replied_at), 22)
    visit = booked_at.replace(minute=0, second=0, microsecond=0) + rng.randrange(1, 9) * DAY
    yield _lead_event(lead, "appointment_booked", booked_at, appointment_at=_stamp(visit))
    yield _staged(lead, "booked", booked_at + _seconds(1))
    yield from _offer(rng, lead, booked_at)


def _dropped(rng: Random, lead: Lead, at: datetime, stage: str | None) -> Iterator[Event]:
    at = _later(rng, at, 40)
    if stage is not None:
        yield _staged(lead, stage, at)
    if _chance(rng, 0.5):
        at = _later(rng, at, 120)
        yield _lead_event(lead, "job_lost", at, reason=rng.choice(LOSS_REASONS))
        yield _staged(lead, "lost", at + _seconds(1))
        if _chance(rng, 0.08):
            yield _staged(lead, "nurturing", _later(rng, at, 200))


def _offer(rng: Random, lead: Lead, booked_at: datetime) -> Iterator[Event]:
    value = round(rng.lognormvariate(11.3, 0.8))
    asked_at = _later(rng, booked_at, 30)
    if _chance(rng, 0.85):
        yield _lead_event(lead, "quote_requested", asked_at)
    sent_at = _later(rng, asked_at, 20)
    known = value if _chance(rng, 0.95) else None
    yield _lead_event(lead, "quote_sent", sent_at, value_cents=known)
    if not _chance(rng, 0.68):
        yield from _dropped(rng, lead, sent_at, stage=None)
        return
    accepted_at = _later(rng, sent_at, 50)
    yield _lead_event(lead, "quote_accepted", accepted_at)
    if _chance(rng, 0.94):
        won_at = _later(rng, accepted_at, 60)
        yield _lead_event(lead, "job_won", won_at, value_cents=value)
        yield from _payment(rng, lead, won_at, value)
        if _chance(rng, 0.03):
            second = round(value * rng.uniform(0.1, 0.5))
            yield _lead_event(lead, "job_won", _later(rng, won_at, 300), value_cents=second)


def _payment(rng: Random, lead: Lead, won_at: datetime, value: int) -> Iterator[Event]:
    invoice = f"inv-{lead.lead_id[5:]}"
    invoiced_at = _later(rng, won_at, 48)
    yield _lead_event(lead, "invoice_sent", invoiced_at, value_cents=value, invoice_id=invoice)
    if not _chance(rng, 0.86):
        return
    parts = [value // 3, value - value // 3] if _chance(rng, 0.15) else [value]
    paid_at = invoiced_at
    for part in parts:
        paid_at = _later(rng, paid_at, 150)
        yield _lead_event(lead, "payment_received", paid_at, value_cents=part, invoice_id=invoice)
    yield from _review(rng, lead, paid_at)


def _review(rng: Random, lead: Lead, paid_at: datetime) -> Iterator[Event]:
    if not _chance(rng, 0.72):
        return
    asked_at = _later(rng, paid_at, 24)
    yield _lead_event(lead, "review_requested", asked_at)
    if _chance(rng, 0.55):
        yield _lead_event(
            lead,
            "review_received",
            _later(rng, asked_at, 60),
            rating=_weighted(rng, RATINGS),
            platform=rng.choice(REVIEW_PLATFORMS),
        )


VISITS_PER_DAY = 2.1
CONTACT_RATE = 0.055
BOT_SHARE = 0.05
USER_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/134.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.3 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.3 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/134.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:136.0) Gecko/20100101 Firefox/136.0",
)
BOT_AGENTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "curl/8.7.1",
)
PAGES = ("/", "/services", "/pricing", "/about", "/blog/spring-checklist", "/contact", "/gallery")
PLATFORM_PAGES = ("/", "/features", "/pricing", "/docs", "/blog/answer-faster", "/signup")
REFERRERS = {
    None: 0.34,
    "https://www.google.com/": 0.3,
    "https://www.bing.com/search?q=near+me": 0.06,
    "https://duckduckgo.com/": 0.04,
    "https://www.facebook.com/": 0.07,
    "https://t.co/x1y2": 0.03,
    "https://www.linkedin.com/feed/": 0.03,
    "https://www.reddit.com/r/homeowners/": 0.03,
    "https://www.localnews.example/homes": 0.05,
    "own": 0.05,
}
CAMPAIGNS: tuple[Json, ...] = (
    {"source": "google", "medium": "cpc", "name": "spring-offer", "term": "repair near me"},
    {"source": "newsletter", "medium": "email", "name": "april-news"},
    {"source": "facebook", "medium": "paid_social", "name": "retargeting", "content": "video-b"},
    {"source": "flyer"},
)
# Addresses reserved for documentation (RFC 5737, RFC 3849): nobody's.
IP_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")


@dataclass(frozen=True)
class Visitor:
    """A browser: who it says it is, and the address and agent it comes with."""

    identity: Json
    ip: str
    user_agent: str


def _draw_visitor(rng: Random, user: User | None = None) -> Visitor:
    """A user, an anonymous id, or nothing but address and agent."""
    if user is not None:
        identity = {"user_id": user.user_id}
    else:
        identity = {"anonymous_id": f"anon-{_uuid(rng)}"} if _chance(rng, 0.72) else {}
    address = f"{rng.choice(IP_NETWORKS)}.{rng.randrange(1, 255)}"
    if _chance(rng, 0.15):
        address = f"2001:db8::{rng.randrange(1, 65_536):x}"
    return Visitor(identity, address, rng.choice(USER_AGENTS))


def _browser_context(client: Client, visitor: Visitor, session_id: str | None) -> Json:
    return _present(
        session_id=session_id,
        ip=visitor.ip,
        user_agent=visitor.user_agent,
        consent={"analytics": True},
        source="marketing_site" if client.client_id == PLATFORM_ID else "web",
    )


def _page(client: Client, path: str, referrer: str | None) -> Json:
    return _present(url=f"https://{client.host}{path}", path=path, referrer=referrer)


def _visit(
    rng: Random, client: Client, visitor: Visitor, at: datetime, session_id: str | None
) -> Iterator[Event]:
    """The page views of one visit; a long pause splits it where it has no session id."""
    campaign = rng.choice(CAMPAIGNS) if _chance(rng, 0.18) else None
    referrer = _weighted(rng, REFERRERS)
    if referrer == "own":
        referrer = f"https://{client.host.removeprefix('www.')}/"
    pages = PLATFORM_PAGES if client.client_id == PLATFORM_ID else PAGES
    path = pages[0] if _chance(rng, 0.5) else rng.choice(pages)
    while True:
        context = _browser_context(client, visitor, session_id)
        context["page"] = _page(client, path, referrer)
        if campaign is not None:
            context["campaign"] = campaign
        actor = {"client_id": client.client_id, **visitor.identity}
        yield Event(at, "page_view", actor, {}, context)
        if _chance(rng, 0.4):
            return
        at += _seconds(rng.uniform(1900, 3600) if _chance(rng, 0.03) else rng.uniform(6, 200))
        referrer, campaign, path = context["page"]["url"], None, rng.choice(pages)


def _traffic(world: World, rng: Random) -> Iterator[Event]:
    """Visits of clients' sites and of the marketing site, contacts included."""
    known: defaultdict[str, list[Visitor]] = defaultdict(list)
    people = _people_by_client(world)
    for client, at in _client_moments((*world.clients, world.platform), rng, VISITS_PER_DAY):
        if _chance(rng, BOT_SHARE):
            yield from _crawl(rng, client, at)
            continue
        visitor = _next_visitor(rng, known[client.client_id], people.get(client.client_id, []), at)
        session_id = f"s-{_uuid(rng)}" if _chance(rng, 0.72) else None
        views = list(_visit(rng, client, visitor, at, session_id))
        yield from views
        if _chance(rng, CONTACT_RATE):
            yield _contact(rng, views[-1])
    yield from _kiosk(world)


def _people_by_client(world: World) -> dict[str, list[User]]:
    people: defaultdict[str, list[User]] = defaultdict(list)
    for user in world.users:
        people[user.client.client_id].append(user)
    return people


def _next_visitor(rng: Random, known: list[Visitor], people: list[User], at: datetime) -> Visitor:
    """One who was here before, a user of the client, or somebody new (remembered)."""
    if known and _chance(rng, 0.35):
        return rng.choice(known)
    user = rng.choice(people) if people and _chance(rng, 0.12) else None
    is_member = user is not None and user.created_at <= at < user.quits_at
    visitor = _draw_visitor(rng, user if is_member else None)
    if not is_member:
        known.append(visitor)
    return visitor


def _contact(rng: Random, last_view: Event) -> Event:
    """A contact form sent a little after the last view, by the same visitor."""
    context = {name: value for name, value in last_view.context.items() if name != "campaign"}
    form = rng.choice(("contact", "callback", "quote"))
    at = last_view.at + _seconds(rng.uniform(15, 900))
    return Event(at, "contact_submitted", dict(last_view.actor), {"form": form}, context)


def _crawl(rng: Random, client: Client, at: datetime) -> Iterator[Event]:
    """A bot: noted by the server (no browser, so no consent to ask), page after page."""
    agent, address = rng.choice(BOT_AGENTS), f"{rng.choice(IP_NETWORKS)}.{rng.randrange(1, 255)}"
    for path in rng.sample(PAGES, rng.randrange(1, 5)):
        context = {
            "ip": address,
            "user_agent": agent,
            "source": "runtime",
            "page": _page(client, path, None),
        }
        yield Event(at, "page_view", {"client_id": client.client_id}, {}, context)
        at += _seconds(rng.uniform(0.3, 4))


def _kiosk(world: World) -> Iterator[Event]:
    """A show-room screen that looks every 20 minutes: only the 24-hour cap ends its session."""
    client = world.clients[0]
    visitor = Visitor({"anonymous_id": "anon-showroom"}, "192.0.2.1", USER_AGENTS[4])
    first = datetime(2026, 3, 5, 6, tzinfo=UTC)
    for n in range(100):
        context = _browser_context(client, visitor, None)
        context["page"] = _page(client, PAGES[n % 3], None)
        actor = {"client_id": client.client_id, **visitor.identity}
        yield Event(first + n * timedelta(minutes=20), "page_view", actor, {}, context)


def _signups(world: World, rng: Random) -> Iterator[Event]:
    """Users of the sample's days sign up, most of them at the end of a visit."""
    for user in world.users:
        if not user.listed or user.created_at < SAMPLE_START:
            continue
        site = world.platform if user.role == "admin" else user.client
        visitor = _draw_visitor(rng)
        session_id = f"s-{_uuid(rng)}"
        if _chance(rng, 0.6):
            came_at = user.created_at - _seconds(rng.uniform(300, 1200))
            views = _visit(rng, site, visitor, came_at, session_id)
            yield from (view for view in views if SAMPLE_START <= view.at < user.created_at)
        actor = {"client_id": site.client_id, "user_id": user.user_id, **visitor.identity}
        context = _browser_context(site, visitor, session_id)
        yield Event(user.created_at, "signup", actor, {"plan": user.plan}, context)


SESSIONS_PER_UNIT_DAY = 0.07
SESSIONS_PER_USER_DAY = 0.05
DORMANT_UNITS = 0.45


def _engagement(world: World, rng: Random) -> Iterator[Event]:
    """Sessions of residents, users and passers-by, and what they download."""
    clients = {client.client_id: client for client in world.clients}
    for unit in world.units:
        if not _chance(rng, DORMANT_UNITS):
            yield from _resident(rng, world, unit, clients[unit["client_id"]])
    for user, at in _user_moments(world.users, rng, SESSIONS_PER_USER_DAY):
        yield from _portal_visit(rng, world, user.actor, at)
    for client, at in _client_moments(world.clients, rng, 0.15):
        actor = {"client_id": client.client_id, "anonymous_id": f"anon-{_uuid(rng)}"}
        yield from _portal_visit(rng, world, actor, at)


def _resident(rng: Random, world: World, unit: Json, client: Client) -> Iterator[Event]:
    actor = {key: unit[key] for key in ("client_id", "unit_id", "development_id")}
    moves_out = SAMPLE_START + rng.uniform(0.3, 3) * (SAMPLE_AS_OF - SAMPLE_START)
    for day in _days():
        busy = 0.0 if day > moves_out or client.level(day) == 0 else SESSIONS_PER_UNIT_DAY
        for _ in range(_poisson(rng, busy)):
            at = _moment(rng, day)
            if at >= client.created_at:
                yield from _portal_visit(rng, world, actor, at)


def _portal_visit(rng: Random, world: World, actor: Json, at: datetime) -> Iterator[Event]:
    context: Json = {
        "source": "web",
        "consent": {"analytics": True},
        "session_id": f"p-{_uuid(rng)}",
        "producer": "portal",
    }
    yield Event(at, "session", dict(actor), {}, dict(context))
    if _chance(rng, 0.18):
        document = rng.choice(world.documents)["document_id"] if _chance(rng, 0.95) else None
        later = at + _seconds(rng.uniform(20, 600))
        yield Event(
            later, "pdf_download", dict(actor), _present(document_id=document), dict(context)
        )


CONVERSATIONS_PER_USER_DAY = 0.1
MODEL_CHANGE = datetime(2026, 3, 16, tzinfo=UTC)
INTENTS = {"simple_lookup": 0.45, "regulatory": 0.3, "comparative": 0.15, "complex": 0.1}
SECTIONS = tuple(f"§{n}.{m}" for n in range(1, 8) for m in range(1, 5))
CHAT_ERRORS = {"timeout": "no answer in 30 s", "rate_limited": "too many requests"}


@dataclass(frozen=True)
class Model:
    """A language model; prices are USD per million tokens."""

    name: str
    version: str
    provider: str
    prompt_price: float
    completion_price: float


OLD_MODELS = {
    Model("gpt-4o", "2024-11-20", "openai", 2.5, 10.0): 0.35,
    Model("gpt-4o-mini", "2024-07-18", "openai", 0.15, 0.6): 0.5,
    Model("mistral-large", "2411", "mistral", 2.0, 6.0): 0.15,
}
NEW_MODELS = {
    Model("gpt-4.1", "2025-04-14", "openai", 2.0, 8.0): 0.35,
    Model("gpt-4o-mini", "2024-07-18", "openai", 0.15, 0.6): 0.4,
    Model("gemini-2.0-flash", "001", "google", 0.1, 0.4): 0.25,
}


def _chats(world: World, rng: Random) -> Iterator[Event]:
    """Conversations about documents, with late, changed and stray feedback."""
    numbers: Counter[str] = Counter()
    moments = _user_moments(world.users, rng, CONVERSATIONS_PER_USER_DAY)
    for user, at in sorted(moments, key=lambda moment: moment[1]):
        numbers[user.client.client_id] += 1
        conversation = f"conv-{numbers[user.client.client_id]:05d}"
        actor = user.actor if _chance(rng, 0.97) else {"client_id": user.client.client_id}
        yield from _conversation(rng, world, actor, conversation, at)


def _conversation(
    rng: Random, world: World, actor: Json, conversation: str, at: datetime
) -> Iterator[Event]:
    document = None
    if _chance(rng, 0.85):
        # The square makes the first documents popular ones.
        document = world.documents[int(len(world.documents) * rng.random() ** 2)]["document_id"]
    if _chance(rng, 0.004):
        document = "doc-removed"
    context = _present(
        source="runtime",
        producer=rng.choice(("chat-runtime-1", "chat-runtime-2")),
        session_id=f"c-{_uuid(rng)}" if _chance(rng, 0.8) else None,
    )
    turn = 1
    while True:
        message = f"{conversation}-m{turn}"
        chat = Event(
            at,
            "chat",
            dict(actor),
            _chat_properties(rng, at, conversation, message, document),
            dict(context),
        )
        yield chat
        if _chance(rng, 0.005):
            again = Event(at + _seconds(8), "chat", dict(actor), chat.properties, dict(context))
            yield again
        if _chance(rng, 0.15):
            yield from _feedback(rng, chat, message)
        if _chance(rng, 0.38):
            return
        at += _seconds(rng.lognormvariate(4.4, 0.9))
        turn += 1


def _chat_properties(
    rng: Random, at: datetime, conversation: str, message: str, document: str | None
) -> Json:
    ids = _present(
        conversation_id=conversation if _chance(rng, 0.98) else None,
        message_id=message,
        document_id=document,
        query_intent=_weighted(rng, INTENTS) if _chance(rng, 0.9) else None,
    )
    if _chance(rng, 0.02):
        return ids  # an old runtime that measures nothing
    models = OLD_MODELS if at < MODEL_CHANGE else NEW_MODELS
    properties = ids | _model_use(rng, _weighted(rng, models))
    if document is not None:
        properties["sections_referenced"] = rng.choices(SECTIONS, k=rng.randrange(5))
    if _chance(rng, 0.1):
        properties["ui_version"] = rng.choice(("3.1", "3.2"))  # outside the plan: metadata
    return properties


def _model_use(rng: Random, model: Model) -> Json:
    failed, cached = _chance(rng, 0.025), _chance(rng, 0.22)
    prompt = rng.randrange(300, 4000)
    completion = 0 if failed else rng.randrange(40, 900)
    reused = rng.randrange(100, prompt) if cached else 0
    took = 30_000 if failed else round(rng.lognormvariate(5.5 if cached else 7.4, 0.5))
    error = rng.choice(tuple(CHAT_ERRORS)) if failed else None
    return {
        "model_name": model.name,
        "model_version": model.version,
        "model_provider": model.provider,
        "tokens_prompt": prompt,
        "tokens_completion": completion,
        "tokens_cached": reused,
        "cost_prompt": round(prompt * model.prompt_price / 1e6, 6),
        "cost_completion": round(completion * model.completion_price / 1e6, 6),
        "cost_cached": round(reused * model.prompt_price / 4e6, 6),
        "response_time_ms": took,
        "cache_hit": cached,
        "user_query_length": rng.randrange(12, 400),
        "ai_response_length": completion * 4,
        "error_occurred": failed,
        "error_code": error,
        "error_message": CHAT_ERRORS[error] if error else None,
        "intermediate_steps": rng.randrange(4),
    }


def _feedback(rng: Random, chat: Event, message: str) -> Iterator[Event]:
    """A rating: at once, or days later; now and then changed, or for a message nobody sent."""
    if _chance(rng, 0.02):
        message += "-lost"
    at = _later(rng, chat.at, 30 if _chance(rng, 0.25) else 0.05)
    yield _rating(rng, chat, message, at)
    if _chance(rng, 0.08):
        yield _rating(rng, chat, message, _later(rng, at, 12))


def _rating(rng: Random, chat: Event, message: str, at: datetime) -> Event:
    text = rng.choice(("Just what I needed", "Out of date", "Too long", ""))
    properties = _present(
        message_id=message,
        rating=_weighted(rng, RATINGS),
        text=text if _chance(rng, 0.25) else None,
    )
    return Event(at, "chat_feedback", dict(chat.actor), properties, dict(chat.context))


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


def _subscriptions(world: World, rng: Random) -> Iterator[Event]:
    """Clients subscribe after their trial, change plan, pause, leave and come back."""
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
    first = max(trial_end, _moment(rng, SAMPLE_START + rng.randrange(6) * DAY))
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
    elif _chance(rng, 0.45):
        changed_at = _moment(rng, first + rng.randrange(20, 60) * DAY)
        plan = rng.choice([name for name in PLAN_CENTS if name != client.plan])
        yield _subscription(client, "changed", changed_at, 1, plan=plan, mrr_cents=PLAN_CENTS[plan])
    if number % 6 == 0:
        yield _subscription(
            client, "started", first + 15 * DAY, 3, plan="reviews-addon", mrr_cents=4_900
        )


def _revenue(world: World, rng: Random) -> Iterator[Event]:
    """Users pay every 30 days while they stay, upgrade, buy credits and get refunds."""
    for user in world.users:
        if user.plan in USER_PRICES:
            yield from _paid_months(rng, user, USER_PRICES[user.plan])
    for user, at in _user_moments(world.users, rng, 0.002):
        yield _paid(rng, user, at, "purchase", rng.choice(PURCHASES))


def _paid_months(rng: Random, user: User, price: float) -> Iterator[Event]:
    at = user.created_at + timedelta(minutes=3)
    while at < min(user.quits_at, STORY_END):
        if at >= SAMPLE_START:
            yield _paid(rng, user, at, "subscription", price)
            if _chance(rng, 0.05):
                yield _paid(rng, user, _later(rng, at, 60), "refund", price)
            if _chance(rng, 0.08):
                yield _paid(rng, user, _later(rng, at, 100), "upgrade", 20.0)
        at += 30 * DAY


def _paid(rng: Random, user: User, at: datetime, kind: str, amount: float) -> Event:
    properties = _present(
        type=kind,
        amount_usd=amount,
        plan_type=user.plan if kind != "purchase" else None,
        payment_provider=rng.choice(("stripe", "paypal")),
        payment_id=f"pay_{rng.getrandbits(48):x}",
    )
    return Event(at, "revenue", user.actor, properties, {"source": "api"})


def _credits(world: World, rng: Random) -> Iterator[Event]:
    """Credits that users spend on features."""
    for user, at in _user_moments(world.users, rng, 0.07):
        feature = rng.choice(tuple(FEATURES))
        used = FEATURES[feature] * rng.randrange(1, 4)
        cost = round(used * 0.0125, 4) if _chance(rng, 0.9) else None
        properties = _present(feature_name=feature, credits_used=used, cost_usd=cost)
        yield Event(at, "credit_used", user.actor, properties, {"source": "api"})


def _api_costs(world: World, rng: Random) -> Iterator[Event]:
    """What each client's day cost, service by service, and the platform's own hosting."""
    for day in _days():
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


def _builder(world: World, rng: Random) -> Iterator[Event]:
    """Admins and a few members build pages, several steps at a sitting."""
    builders = [
        user for number, user in enumerate(world.users) if user.role == "admin" or number % 12 == 0
    ]
    for user, at in _user_moments(builders, rng, 0.04):
        for _ in range(rng.randrange(1, 9)):
            action = {"action": _weighted(rng, BUILDER_ACTIONS)}
            yield Event(at, "builder_action", user.actor, action, {"source": "builder"})
            at += _seconds(rng.uniform(3, 120))


def _dashboards(world: World, rng: Random) -> Iterator[Event]:
    """Admins look at dashboards, filter and export them, having agreed to be counted."""
    admins = [user for user in world.users if user.role == "admin"]
    for user, at in _user_moments(admins, rng, 0.18):
        view = rng.choice(DASHBOARD_VIEWS) if _chance(rng, 0.97) else None
        yield _dashboard(user, at, "dashboard_view", view=view)
        if _chance(rng, 0.45):
            at += _seconds(rng.uniform(4, 90))
            yield _dashboard(user, at, "filter_change", view=view, filter="last_30_days")
        if _chance(rng, 0.12):
            at += _seconds(rng.uniform(4, 90))
            yield _dashboard(user, at, "export", view=view, format=rng.choice(EXPORT_FORMATS))


def _dashboard(user: User, at: datetime, kind: str, **properties: object) -> Event:
    context: Json = {"source": "web", "consent": {"analytics": True}}
    return Event(at, f"analytics.{kind}", user.actor, _present(**properties), context)


API_CALLS_PER_DAY = 2.6
ENDPOINTS = {
    ("/v1/chat", "POST"): (0.4, 6.6),
    ("/v1/leads", "GET"): (0.25, 4.2),
    ("/v1/leads", "POST"): (0.15, 4.6),
    ("/v1/documents/{id}", "GET"): (0.15, 3.9),
    ("/v1/exports", "POST"): (0.05, 7.8),
}
"""(endpoint, method): (share of calls, mean of the log of milliseconds)."""

FAILURES = {500: "internal error", 503: "upstream unavailable", 429: "too many requests"}
MISUSES = {400: "bad request", 401: "not signed in", 404: None}
FIVE_MINUTES = timedelta(minutes=5)


@dataclass(frozen=True)
class Burst:
    """Neighbouring 5-minute windows, each with these many calls and failures."""

    start: datetime
    windows: int
    calls: int
    failures: int


BURSTS = (
    Burst(datetime(2026, 1, 22, 14, 5, tzinfo=UTC), 1, 40, 4),  # medium
    Burst(datetime(2026, 2, 17, 9, 30, tzinfo=UTC), 2, 45, 16),  # high, one alert
    Burst(datetime(2026, 3, 12, 16, 0, tzinfo=UTC), 3, 50, 35),  # critical
    Burst(datetime(2026, 3, 24, 11, 20, tzinfo=UTC), 1, 60, 1),  # busy but well: no alert
    Burst(datetime(2026, 4, 8, 3, 40, tzinfo=UTC), 1, 15, 15),  # too few calls: no alert
    Burst(datetime(2026, 4, 29, 21, 10, tzinfo=UTC), 1, 50, 13),  # high
    Burst(datetime(2026, 4, 30, 23, 50, tzinfo=UTC), 2, 36, 9),  # not over as the demo looks
)

MONITORING_SINCE = datetime(2026, 4, 14, tzinfo=UTC)
MONITORING_OUTAGE = (
    datetime(2026, 4, 27, 2, 30, tzinfo=UTC),
    datetime(2026, 4, 27, 3, 15, tzinfo=UTC),
)
SERVERS = ("app-1", "app-2")


def _api_requests(world: World, rng: Random) -> Iterator[Event]:
    """Calls with the usual few errors, and the bursts above."""
    people = _people_by_client(world)
    for client, at in _client_moments(world.clients, rng, API_CALLS_PER_DAY):
        status = 200 if _chance(rng, 0.979) else rng.choice(tuple(FAILURES | MISUSES))
        members = people.get(client.client_id, [])
        caller = rng.choice(members) if members and _chance(rng, 0.3) else None
        known = caller is not None and caller.created_at <= at < caller.quits_at
        actor = caller.actor if caller and known else {"client_id": client.client_id}
        yield _api_request(rng, at, actor, status)
    for burst in BURSTS:
        for window in range(burst.windows):
            yield from _burst_window(rng, burst, burst.start + window * FIVE_MINUTES)


def _burst_window(rng: Random, burst: Burst, start: datetime) -> Iterator[Event]:
    for call in range(burst.calls):
        at = start + call * FIVE_MINUTES / burst.calls
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        status = rng.choice((500, 503)) if call < burst.failures else 200
        yield _api_request(rng, at, {"client_id": PLATFORM_ID}, status)


def _api_request(rng: Random, at: datetime, actor: Json, status: int) -> Event:
    endpoint, method = _weighted(rng, {call: share for call, (share, _) in ENDPOINTS.items()})
    took = round(rng.lognormvariate(ENDPOINTS[endpoint, method][1], 0.6))
    properties = _present(
        endpoint=endpoint,
        method=method,
        response_time_ms=took,
        status_code=status,
        error_message=(FAILURES | MISUSES).get(status),
    )
    return Event(at, "api_request", actor, properties, {"source": "api", "producer": "api-gateway"})


def _system_metrics(world: World, rng: Random) -> Iterator[Event]:
    """Each server in turn, every five minutes, from the day monitoring began, but one outage."""
    at, tick = MONITORING_SINCE, 0
    while at < STORY_END:
        if not MONITORING_OUTAGE[0] <= at < MONITORING_OUTAGE[1]:
            day_part = math.sin((at.hour - 9) / 24 * math.tau)
            cpu = min(100.0, max(1.0, rng.gauss(38 + 22 * day_part, 6)))
            memory = min(100.0, rng.gauss(61 + 5 * day_part, 2))
            reading_at = at + _seconds(rng.uniform(1, 20))
            for metric, value in (("cpu_usage", cpu), ("memory_usage", memory)):
                yield _reading(world, reading_at, SERVERS[tick % 2], metric, round(value, 1))
        at += FIVE_MINUTES
        tick += 1


def _reading(world: World, at: datetime, server: str, metric: str, value: float) -> Event:
    properties = {"metric_type": metric, "metric_value": value, "server_id": server}
    context = {"source": "runtime", "producer": f"monitor-{server}"}
    return Event(at, "system_metric", {"client_id": world.platform.client_id}, properties, context)


Family = Callable[[World, Random], Iterator[Event]]

FAMILIES: dict[str, Family] = {
    "leads": _lead_stories,
    "traffic": _traffic,
    "signups": _signups,
    "engagement": _engagement,
    "chats": _chats,
    "subscriptions": _subscriptions,
    "revenue": _revenue,
    "credits": _credits,
    "api_costs": _api_costs,
    "builder": _builder,
    "dashboards": _dashboards,
    "api_requests": _api_requests,
    "system_metrics": _system_metrics,
}

NEEDS_CONSENT = frozenset(
    (
        "session",
        "page_view",
        "pdf_download",
        "contact_submitted",
        "builder_action",
        "analytics.dashboard_view",
        "analytics.filter_change",
        "analytics.export",
    )
)
REFUSED_SHARE = 0.045  # of events that need consent, which makes 2 % of all
KEPT_AFTER_AS_OF = 15

GAPS = (
    # (producer, day, numbers lost at its first event of that noon or later)
    ("messaging-gateway", date(2026, 2, 11), 7),
    ("chat-runtime-2", date(2026, 3, 19), 2),
    ("portal", date(2026, 4, 27), 1),
)
FIRST_NUMBER = {"crm-core": 48_211}  # a producer that counted before the sample begins


def _settled(events: list[Event], world: World, seed: int) -> list[Event]:
    """The events that producers sent, in order of time, consent and sequence settled."""
    rng = Random(f"{seed}:settle")
    last = {client.client_id: client.last_event_at for client in world.clients}
    alive = [event for event in events if event.at < last.get(event.actor["client_id"], NEVER)]
    seen = [event for event in alive if event.at < SAMPLE_AS_OF]
    sent = seen + _after_as_of(alive, rng)
    sent.sort(key=lambda event: event.at)
    _refuse_consent(sent, rng)
    _number(sent)
    return sent


def _after_as_of(events: Iterable[Event], rng: Random) -> list[Event]:
    """A handful of what happened after the sample's end, the first at that very instant."""
    spilled = [event for event in events if SAMPLE_AS_OF <= event.at < LAST_SPILL]
    kept = rng.sample(spilled, KEPT_AFTER_AS_OF)
    min(kept, key=lambda event: event.at).at = SAMPLE_AS_OF
    return kept


def _refuse_consent(events: Iterable[Event], rng: Random) -> None:
    """Take consent away from some events, in each way in which it can be missing."""
    for event in events:
        if event.name not in NEEDS_CONSENT or not _chance(rng, REFUSED_SHARE):
            continue
        way = rng.randrange(3)
        if way == 0:
            event.context["dnt"] = True
        elif way == 1 and event.context["source"] in ("web", "marketing_site"):
            event.context.pop("consent", None)
        else:
            event.context["consent"] = {"analytics": False}


def _number(events: Iterable[Event]) -> None:
    """Count each producer's events in order of time, skipping the numbers that were lost."""
    following = defaultdict(lambda: 1, FIRST_NUMBER)
    gaps = {(producer, day): lost for producer, day, lost in GAPS}
    for event in events:
        producer = event.context.get("producer")
        if producer is None:
            continue
        if event.at.hour >= 12:
            following[producer] += gaps.pop((producer, event.at.date()), 0)
        event.context["sequence"] = following[producer]
        following[producer] += 1


EVENT_FILES = (
    "events-2026-01.ndjson.gz",
    "events-2026-02.ndjson.gz",
    "events-2026-03.ndjson.gz",
    "events-2026-04.ndjson.gz",
    "events-2026-05.ndjson",
)
DUPLICATE_SHARE = 0.01
BAD_SHARE = 0.003
WITHOUT_ID = 8
PRODUCER_ZONES = {
    "messaging-gateway": timezone(timedelta(hours=-5)),
    "crm-core": UTC,
}
UPPER_CASE_IDS = "builder_action"  # its producer writes identifiers in capitals

# The gateway held these days back for want of a connection and sent them later.
HELD_BACK_BY = "messaging-gateway"
HELD_BACK = (datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC))
SENT_LATER_BY = timedelta(days=4)


@dataclass(frozen=True, slots=True)
class Line:
    """Bytes without line end, and when they came."""

    arrives_at: datetime
    data: bytes


def _stamp(at: datetime) -> str:
    return f"{at.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def _dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _payload(event: Event, event_id: str | None) -> Json:
    """The event as its producer writes it."""
    zone = PRODUCER_ZONES.get(event.context.get("producer", ""))
    at = event.at.astimezone(zone).isoformat(timespec="milliseconds") if zone else _stamp(event.at)
    payload: Json = {} if event_id is None else {"event_id": event_id}
    payload |= {"event": event.name, "timestamp": at, "actor": event.actor}
    if event.context:
        payload["context"] = event.context
    if event.properties:
        payload["properties"] = event.properties
    return payload


def _lines(events: Sequence[Event], seed: int) -> list[Line]:
    """Every line of the sample: each event, some of them broken, some of them sent again."""
    rng = Random(f"{seed}:lines")
    broken = _chosen_for_breaking(events, rng)
    anonymous = _chosen_without_id(events, rng, broken)
    lines = []
    for number, event in enumerate(events):
        event_id = None if number in anonymous else _uuid(rng)
        if event_id is not None and event.name == UPPER_CASE_IDS:
            event_id = event_id.upper()
        payload = _payload(event, event_id)
        fault = broken.get(number)
        data = fault(payload) if fault else _dumped(payload)
        arrives_at = _arrival(rng, event)
        lines.append(Line(arrives_at, data))
        repeated = number in anonymous or _chance(rng, DUPLICATE_SHARE)
        if repeated and fault is None and not _is_refused(event):
            lines.append(Line(_repetition(rng, arrives_at), data))
    return lines


def _is_refused(event: Event) -> bool:
    if event.name not in NEEDS_CONSENT:
        return False
    consent = event.context.get("consent", {}).get("analytics")
    in_browser = event.context["source"] in ("web", "marketing_site")
    return event.context.get("dnt") is True or consent is False or (in_browser and not consent)


def _chosen_without_id(
    events: Sequence[Event], rng: Random, broken: dict[int, Fault]
) -> frozenset[int]:
    """API calls and readings whose producers forgot the identifier."""
    numbers = [
        number
        for number, event in enumerate(events)
        if event.name in ("api_request", "system_metric") and number not in broken
    ]
    return frozenset(rng.sample(numbers, WITHOUT_ID))


def _arrival(rng: Random, event: Event) -> datetime:
    """Most at once, some after minutes, a few after days and the last after weeks."""
    held_back = event.context.get("producer") == HELD_BACK_BY
    if held_back and HELD_BACK[0] <= event.at < HELD_BACK[1]:
        return event.at + SENT_LATER_BY
    part = rng.random()
    if part < 0.94:
        return event.at + _seconds(rng.uniform(0.05, 20))
    if part < 0.975:
        return event.at + _seconds(rng.uniform(60, 7200))
    if part < 0.993:
        return event.at + rng.uniform(0.1, 3) * DAY
    return event.at + rng.uniform(3, 25) * DAY


def _repetition(rng: Random, first: datetime) -> datetime:
    """When a line comes again: a retry within minutes, or a file sent twice weeks later."""
    if _chance(rng, 0.6):
        return first + _seconds(rng.uniform(1, 300))
    return first + rng.uniform(0.2, 45) * DAY


def _by_arrival(lines: list[Line]) -> dict[str, list[bytes]]:
    """Lines by file, in the order of arrival; all that comes after April is the last file's."""
    files: dict[str, list[bytes]] = {name: [] for name in EVENT_FILES}
    for line in sorted(lines, key=lambda line: line.arrives_at):
        month = 5 if line.arrives_at >= SAMPLE_AS_OF else line.arrives_at.month
        files[EVENT_FILES[month - 1]].append(line.data)
    return files


def _write(path: Path, lines: Iterable[bytes]) -> None:
    """Write lines, compressed where the name says so, under a temporary name until whole."""
    content = b"".join(line + b"\n" for line in lines)
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=6, mtime=0)
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


Fault = Callable[[Json], bytes]

TOO_LARGE = 262_144
TOO_DEEP = 70


def _with(*path: str, value: object) -> Fault:
    """A fault that puts a value where it does not belong."""

    def fault(payload: Json) -> bytes:
        return _dumped(_changed(payload, path, lambda parent, key: parent.update({key: value})))

    return fault


def _without(*path: str) -> Fault:
    """A fault that leaves a required member out."""

    def fault(payload: Json) -> bytes:
        return _dumped(_changed(payload, path, lambda parent, key: parent.pop(key)))

    return fault


def _changed(payload: Json, path: Sequence[str], change: Callable[[Json, str], object]) -> Json:
    """A copy with one member changed: events of one visit share what they have in common."""
    copy = json.loads(json.dumps(payload))
    parent = copy
    for key in path[:-1]:
        parent = parent.setdefault(key, {})
    change(parent, path[-1])
    return copy


def _in_latin_1(payload: Json) -> bytes:
    text = _with("properties", "note", value="Café au lait")(payload).decode()
    return text.encode("latin-1", errors="replace")


def _cut_short(payload: Json) -> bytes:
    data = _dumped(payload)
    return data[: len(data) * 2 // 3].decode(errors="ignore").encode()


def _not_a_number(payload: Json) -> bytes:
    return _with("properties", "score", value=math.nan)(payload)


def _half_a_character(payload: Json) -> bytes:
    noted = _with("properties", "note", value="half")(payload)
    return noted.replace(b'"note":"half"', b'"note":"\\ud83d"')


def _nested(payload: Json) -> bytes:
    nest: list[Any] = []
    for _ in range(TOO_DEEP):
        nest = [nest]
    return _with("properties", "tree", value=nest)(payload)


def _in_a_list(payload: Json) -> bytes:
    return b"[" + _dumped(payload) + b"]"


def _heartbeat(_: Json) -> bytes:
    return b'"heartbeat"'


def _oversized(payload: Json) -> bytes:
    return _with("properties", "transcript", value="lorem " * (TOO_LARGE // 6 + 1))(payload)


ANY_FAULTS: tuple[Fault, ...] = (
    _in_latin_1,
    _cut_short,
    _not_a_number,
    _half_a_character,
    _nested,
    _in_a_list,
    _heartbeat,
    _with("meta", value={"sdk": "0.9"}),  # unknown_field
    _without("actor", "client_id"),  # missing_field
    _with("event_id", value="not-a-uuid"),  # invalid_field
    _with("context", "session_id", value=17),
    _with("actor", "user_id", value="user\x00"),
)
FAULTS: dict[str, tuple[Fault, ...]] = {
    # What spoils the timestamp falls on events without a sequence: the day of a number must
    # stay readable, or the loss table of the demo would begin in 1970.
    "page_view": (
        *ANY_FAULTS,
        _without("timestamp"),
        _without("event"),
        _without("context", "page", "path"),
        _with("event", value="pageview"),  # unknown_event
        _with("timestamp", value="2026-03-01 09:30:00"),  # invalid_field: no offset
        _with("timestamp", value="2026-02-30T09:30:00Z"),
        _with("timestamp", value="1970-01-01T00:00:00Z"),  # timestamp_out_of_range
        _with("timestamp", value="2126-04-01T09:30:00Z"),
    ),
    "chat": (
        *ANY_FAULTS,
        _with("event", value="chat_v2"),
        _with("properties", "tokens_prompt", value=-1),
        _with("properties", "response_time_ms", value="fast"),
        _with("properties", "query_intent", value="small_talk"),
        _with("properties", "tokens_completion", value=100.5),
    ),
    "message": (
        *ANY_FAULTS,
        _without("actor", "lead_id"),
        _without("properties", "direction"),
        _with("event", value="sms"),
        _with("properties", "direction", value="sideways"),
    ),
    "api_request": (
        *ANY_FAULTS,
        _without("properties", "status_code"),
        _with("event", value="analytics.ingest_success"),
        _with("properties", "status_code", value=99),
    ),
}


def _chosen_for_breaking(events: Sequence[Event], rng: Random) -> dict[int, Fault]:
    """Which events arrive broken, and how: every fault in turn, one line too large."""
    able = [
        number
        for number, event in enumerate(events)
        if event.name in FAULTS and event.at < SAMPLE_AS_OF and not _is_refused(event)
    ]
    chosen: dict[int, Fault] = {}
    turns: Counter[str] = Counter()
    for number in rng.sample(able, round(BAD_SHARE * len(events))):
        name = events[number].name
        chosen[number] = FAULTS[name][turns[name] % len(FAULTS[name])]
        turns[name] += 1
    chosen[next(n for n in able if events[n].name == "chat" and n not in chosen)] = _oversized
    return chosen
