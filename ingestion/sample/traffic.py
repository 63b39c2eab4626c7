"""Events of site visits, contact forms, crawlers and sign-ups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from ingestion.sample.events import Event, Json, new_uuid, present
from ingestion.sample.timeline import SAMPLE_START, chance, seconds, weighted
from ingestion.sample.world import PLATFORM_ID, Client, User, World, client_moments

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
# Networks reserved for documentation (RFC 5737, RFC 3849): they belong to nobody.
IP_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")


@dataclass(frozen=True)
class Visitor:
    """A browser: its actor ids, IP address and user agent."""

    identity: Json
    ip: str
    user_agent: str


def _draw_visitor(rng: Random, user: User | None = None) -> Visitor:
    """Return a visitor with a user id, an anonymous id, or no id."""
    if user is not None:
        identity = {"user_id": user.user_id}
    else:
        identity = {"anonymous_id": f"anon-{new_uuid(rng)}"} if chance(rng, 0.72) else {}
    address = f"{rng.choice(IP_NETWORKS)}.{rng.randrange(1, 255)}"
    if chance(rng, 0.15):
        address = f"2001:db8::{rng.randrange(1, 65_536):x}"
    return Visitor(identity, address, rng.choice(USER_AGENTS))


def _browser_context(client: Client, visitor: Visitor, session_id: str | None) -> Json:
    return present(
        session_id=session_id,
        ip=visitor.ip,
        user_agent=visitor.user_agent,
        consent={"analytics": True},
        source="marketing_site" if client.client_id == PLATFORM_ID else "web",
    )


def _page(client: Client, path: str, referrer: str | None) -> Json:
    return present(url=f"https://{client.host}{path}", path=path, referrer=referrer)


def _visit(
    rng: Random, client: Client, visitor: Visitor, at: datetime, session_id: str | None
) -> Iterator[Event]:
    """Yield the page views of a visit; without session id a long pause splits it."""
    campaign = rng.choice(CAMPAIGNS) if chance(rng, 0.18) else None
    referrer = weighted(rng, REFERRERS)
    if referrer == "own":
        referrer = f"https://{client.host.removeprefix('www.')}/"
    pages = PLATFORM_PAGES if client.client_id == PLATFORM_ID else PAGES
    path = pages[0] if chance(rng, 0.5) else rng.choice(pages)
    while True:
        context = _browser_context(client, visitor, session_id)
        context["page"] = _page(client, path, referrer)
        if campaign is not None:
            context["campaign"] = campaign
        actor = {"client_id": client.client_id, **visitor.identity}
        yield Event(at, "page_view", actor, {}, context)
        if chance(rng, 0.4):
            return
        at += seconds(rng.uniform(1900, 3600) if chance(rng, 0.03) else rng.uniform(6, 200))
        referrer, campaign, path = context["page"]["url"], None, rng.choice(pages)


def traffic(world: World, rng: Random) -> Iterator[Event]:
    """Yield visits of clients' sites and of the marketing site, including contacts."""
    known: defaultdict[str, list[Visitor]] = defaultdict(list)
    people = people_by_client(world)
    for client, at in client_moments((*world.clients, world.platform), rng, VISITS_PER_DAY):
        if chance(rng, BOT_SHARE):
            yield from _crawl(rng, client, at)
            continue
        visitor = _next_visitor(rng, known[client.client_id], people.get(client.client_id, []), at)
        session_id = f"s-{new_uuid(rng)}" if chance(rng, 0.72) else None
        views = list(_visit(rng, client, visitor, at, session_id))
        yield from views
        if chance(rng, CONTACT_RATE):
            yield _contact(rng, views[-1])
    yield from _kiosk(world)


def people_by_client(world: World) -> dict[str, list[User]]:
    """Return the users of each client."""
    people: defaultdict[str, list[User]] = defaultdict(list)
    for user in world.users:
        people[user.client.client_id].append(user)
    return people


def _next_visitor(rng: Random, known: list[Visitor], people: list[User], at: datetime) -> Visitor:
    """Return a known visitor, a user of the client, or a new visitor (added to ``known``)."""
    if known and chance(rng, 0.35):
        return rng.choice(known)
    user = rng.choice(people) if people and chance(rng, 0.12) else None
    is_member = user is not None and user.created_at <= at < user.quits_at
    visitor = _draw_visitor(rng, user if is_member else None)
    if not is_member:
        known.append(visitor)
    return visitor


def _contact(rng: Random, last_view: Event) -> Event:
    """Return a contact form, sent by the same visitor shortly after the last view."""
    context = {name: value for name, value in last_view.context.items() if name != "campaign"}
    form = rng.choice(("contact", "callback", "quote"))
    at = last_view.at + seconds(rng.uniform(15, 900))
    return Event(at, "contact_submitted", dict(last_view.actor), {"form": form}, context)


def _crawl(rng: Random, client: Client, at: datetime) -> Iterator[Event]:
    """Yield a bot's page views, recorded by the server and so without consent."""
    agent, address = rng.choice(BOT_AGENTS), f"{rng.choice(IP_NETWORKS)}.{rng.randrange(1, 255)}"
    for path in rng.sample(PAGES, rng.randrange(1, 5)):
        context = {
            "ip": address,
            "user_agent": agent,
            "source": "runtime",
            "page": _page(client, path, None),
        }
        yield Event(at, "page_view", {"client_id": client.client_id}, {}, context)
        at += seconds(rng.uniform(0.3, 4))


def _kiosk(world: World) -> Iterator[Event]:
    """Yield a showroom screen's views every 20 minutes: only the 24 h limit ends its session."""
    client = world.clients[0]
    visitor = Visitor({"anonymous_id": "anon-showroom"}, "192.0.2.1", USER_AGENTS[4])
    first = datetime(2026, 3, 5, 6, tzinfo=UTC)
    for n in range(100):
        context = _browser_context(client, visitor, None)
        context["page"] = _page(client, PAGES[n % 3], None)
        actor = {"client_id": client.client_id, **visitor.identity}
        yield Event(first + n * timedelta(minutes=20), "page_view", actor, {}, context)


def signups(world: World, rng: Random) -> Iterator[Event]:
    """Yield sign-ups of users created during the sample, most at the end of a visit."""
    for user in world.users:
        if not user.listed or user.created_at < SAMPLE_START:
            continue
        site = world.platform if user.role == "admin" else user.client
        visitor = _draw_visitor(rng)
        session_id = f"s-{new_uuid(rng)}"
        if chance(rng, 0.6):
            came_at = user.created_at - seconds(rng.uniform(300, 1200))
            views = _visit(rng, site, visitor, came_at, session_id)
            yield from (view for view in views if SAMPLE_START <= view.at < user.created_at)
        actor = {"client_id": site.client_id, "user_id": user.user_id, **visitor.identity}
        context = _browser_context(site, visitor, session_id)
        yield Event(user.created_at, "signup", actor, {"plan": user.plan}, context)
