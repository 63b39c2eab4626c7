"""The world of the sample: clients, users, units and documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from random import Random

from ingestion.sample.events import Json, stamp
from ingestion.sample.timeline import (
    DAY,
    NEVER,
    SAMPLE_AS_OF,
    SAMPLE_START,
    STORY_END,
    WEEKDAY_LEVELS,
    chance,
    days,
    moment,
    poisson,
    weighted,
)

PLATFORM_ID = "_platform"

# Clients by month of creation from December on; events of the December ones begin in January.
CLIENTS_BY_MONTH = (12, 10, 8, 6, 4)
COHORT_MONTHS = tuple(
    datetime(year, month, 1, tzinfo=UTC)
    for year, month in ((2025, 12), (2026, 1), (2026, 2), (2026, 3), (2026, 4), (2026, 5))
)
USER_COUNT = 2_000
UNIT_COUNT = 900
DOCUMENT_COUNT = 60

CHURNED = {
    # client number: (when it churned, days of events after that)
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
UNLISTED_CLIENTS = ("partner-sandbox", "walk-in-demo")  # occur in events only, not as entities
UNLISTED_USERS = 3


@dataclass(frozen=True)
class Client:
    """A tenant; ``scale`` is its size (1 is average), ``growth`` its gain over the sample."""

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
        """Return the client's activity on a day: 0 before its creation and after its last event."""
        if day + DAY <= self.created_at or day >= self.last_event_at:
            return 0.0
        quiet = 0.08 if self.paused_at is not None and day >= self.paused_at else 1.0
        grown = 1 + self.growth * ((day - SAMPLE_START) / (SAMPLE_AS_OF - SAMPLE_START))
        return self.scale * grown * quiet * WEEKDAY_LEVELS[day.weekday()]


@dataclass(frozen=True)
class User:
    """A person with a login; ``appetite`` is the frequency of use (1 is average)."""

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
        """The actor of this user's events."""
        return {"client_id": self.client.client_id, "user_id": self.user_id}


@dataclass(frozen=True)
class World:
    """Everything that events refer to."""

    clients: tuple[Client, ...]
    users: tuple[User, ...]
    units: tuple[Json, ...]
    documents: tuple[Json, ...]
    platform: Client


def client_moments(
    clients: Iterable[Client], rng: Random, per_day: float
) -> Iterator[tuple[Client, datetime]]:
    """Yield (client, instant) of random activity, ``per_day`` at level 1."""
    for client in clients:
        for day in days():
            for _ in range(poisson(rng, per_day * client.level(day))):
                at = moment(rng, day)
                if at >= client.created_at:
                    yield client, at


def user_moments(
    users: Iterable[User], rng: Random, per_day: float
) -> Iterator[tuple[User, datetime]]:
    """Yield (user, instant) of random activity, ``per_day`` at appetite 1, less at weekends."""
    for user in users:
        first = max(user.created_at, SAMPLE_START)
        length = min(user.quits_at, STORY_END) - first
        if length <= timedelta():
            continue
        for _ in range(poisson(rng, per_day * user.appetite * (length / DAY))):
            day = datetime.combine(first + rng.random() * length, time(), UTC)
            at = moment(rng, day)
            if chance(rng, WEEKDAY_LEVELS[day.weekday()] / 1.2) and first <= at < user.quits_at:
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


def draw_world(rng: Random) -> World:
    """Generate the world of the sample."""
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
        plan=weighted(rng, CLIENT_PLANS),
        created_at=moment(rng, first + rng.randrange((following - first).days - 3) * DAY),
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
        _draw_user(rng, number, client, is_admin=number <= len(listed) or chance(rng, 0.04))
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
        plan=weighted(rng, USER_PLANS),
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
            "updated_at": stamp(landlords[number % len(landlords)].created_at),
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
                "updated_at": stamp(SAMPLE_START - rng.randrange(200) * DAY),
            }
        )
    return tuple(documents)


def entity_rows(world: World) -> dict[str, list[Json]]:
    """Return the entity rows by kind; older rows come last, so that `updated_at` decides."""
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
        "created_at": stamp(client.created_at),
        "updated_at": stamp(client.created_at),
    }


def _client_row(client: Client) -> Json:
    changed_at = client.churned_at or client.paused_at
    row = _client_row_at_creation(client)
    if changed_at is not None:
        row["status"] = "churned" if client.churned_at else "paused"
        row["churned_at"] = stamp(client.churned_at) if client.churned_at else None
        row["updated_at"] = stamp(changed_at)
    return row


def _user_row(user: User) -> Json:
    return {
        "user_id": user.user_id,
        "client_id": user.client.client_id,
        "role": user.role,
        "plan": user.plan,
        "created_at": stamp(user.created_at),
        "updated_at": stamp(user.created_at),
        **USER_LIMITS[user.plan],
    }
