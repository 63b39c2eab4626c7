"""Random visitors and what they look at, made so that the rules of the traffic marts meet.

Few people, paths and moments, so that views share sessions, visitors and instants. Every event is
accepted by the contract, and each (client_id, event_id, timestamp) comes once.

`traffic_streams` gives events as they are sent, with IPs; `ingested` makes of them what the
reference takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from ingestion.sample.traffic import BOT_AGENTS
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
)
from tests.reference.intake import instant

__all__ = ["AS_OFS", "ingested", "traffic_streams"]

Event = dict[str, Any]
Moments = st.SearchStrategy[datetime]
Members = dict[str, Any]
HashOf = Callable[[str, str, str], str]

MINUTE = timedelta(minutes=1)
HALF_AN_HOUR = timedelta(minutes=30)
# Ends of days and months, and what the months begin with.
EDGES = (
    *(as_of + nudge for as_of in AS_OFS for nudge in (-MICROSECOND, timedelta(), -HALF_AN_HOUR)),
    FIRST_DAY,
    FIRST_DAY + 30 * DAY - MICROSECOND,
    FIRST_DAY + 30 * DAY,
    FUTURE,
)
# The gaps between two views, and from a view to what comes of it.
GAPS = (
    timedelta(),
    MICROSECOND,
    timedelta(milliseconds=500),
    timedelta(seconds=1, milliseconds=500),
    5 * MINUTE,
    HALF_AN_HOUR - MICROSECOND,
    HALF_AN_HOUR - MICROSECOND,
    HALF_AN_HOUR,
    HALF_AN_HOUR + MICROSECOND,
    HOUR,
    DAY,
)
AROUND = (*GAPS, -MICROSECOND, -HALF_AN_HOUR, -DAY)
# How long after its start the last view of a session of a whole day comes.
WHOLE_DAYS = (DAY - MICROSECOND, DAY, DAY + MICROSECOND)

PERSON = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
OTHER_PERSON = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile Safari/604.1"
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
# Those of the sample, too.
CRAWLERS = {BOT, *BOT_AGENTS}
# Who looks: members of the actor and of the context. A user's id may be another one's own id.
VISITORS: tuple[tuple[Members, Members], ...] = (
    ({"user_id": "ann"}, {}),
    ({"user_id": "ann", "anonymous_id": "v-1"}, {"ip": "192.0.2.1", "user_agent": PERSON}),
    ({"user_id": "", "anonymous_id": "v-1"}, {"ip": "192.0.2.1", "user_agent": PERSON}),
    ({"user_id": None, "anonymous_id": "v-2"}, {}),
    ({"anonymous_id": "ann"}, {"user_agent": PERSON}),
    ({}, {"ip": "192.0.2.1", "user_agent": PERSON}),
    ({"anonymous_id": ""}, {"ip": "192.0.2.1", "user_agent": OTHER_PERSON}),
    ({}, {"ip": "2001:db8::1", "user_agent": PERSON}),
)
# Nobody is known to look here: it takes both an IP and a user agent.
NOBODIES: tuple[tuple[Members, Members], ...] = (
    ({}, {}),
    ({"user_id": "", "anonymous_id": None}, {"user_agent": PERSON, "ip": ""}),
    ({}, {"ip": "192.0.2.1"}),
)
BOTS: tuple[tuple[Members, Members], ...] = (
    ({"user_id": "ann"}, {"user_agent": BOT}),
    ({}, {"ip": "192.0.2.1", "user_agent": BOT}),
)
SESSION_IDS = ("s-1", "s-2", "", None, ABSENT, ABSENT, ABSENT)
# Where consent is needed it is given, or the source answers for it.
SOURCES: tuple[Members, ...] = (
    {},
    {"source": "api"},
    {"source": "marketing_site", "consent": {"analytics": True}},
    {"source": "web", "dnt": False, "consent": {"analytics": True}},
)
# One mentions a person who may be erased: that is cut out of it.
PATHS = ("/", "/", "/pricing", "/pricing?plan=pro", "", "/people/ann/notes")
URLS = (
    "https://www.acme.example/start?from=x#top",
    "HTTPS://Acme.Example:443",
    "http://shop.acme.example/",
    "acme.example/",
    "",
    None,
    ABSENT,
)
CAMPAIGNS = (
    {"source": "news", "medium": "email", "name": "spring"},
    {"source": "news"},
    {"source": "News", "medium": None, "name": "spring", "term": "shoes"},
    {"source": "", "medium": "", "name": ""},
    {"source": "none", "name": "none"},
    {"source": None, "medium": "cpc", "name": "autumn"},
    {"medium": "email", "name": "spring"},
    {},
    None,
)
OWN_REFERRERS = (
    "https://acme.example/other",
    "https://WWW.ACME.EXAMPLE:8080/other",
    "http://www.shop.acme.example",
)
REFERRERS = (
    "https://www.google.com/",
    "https://google.de",
    "https://News.Google.co.uk/search?q=x",
    "https://google.evil.example/",
    "https://notgoogle.com/",
    "https://google.fb.me/",
    "android-app://com.google.android.gm/",
    "https://www.bing.com/search",
    "https://bing.de/",
    "https://duckduckgo.com/?q=a",
    "https://de.search.yahoo.com/",
    "https://www.yahoo.co.jp/",
    "https://m.baidu.com/s",
    "https://ya.ru/",
    "https://yandex.com.tr/",
    "https://www.ecosia.org/",
    "https://l.facebook.com/l.php?u=https://acme.example/",
    "https://m.facebook.com:443/",
    "https://l.instagram.com/",
    "https://lnkd.in/abc",
    "https://www.linkedin.com/feed",
    "https://t.co/abc",
    "https://x.com",
    "https://netflix.com/",
    "https://x.com.evil.example/",
    "https://old.reddit.com/r/x",
    "https://redd.it/x",
    "https://m.youtube.com/watch",
    "https://youtu.be/x",
    "https://www.pinterest.co.uk/",
    "https://pin.it/x",
    "https://www.tiktok.com/@x",
    "https://user:secret@blog.example:8443/post?to=x@google.com",
    "HTTP://BÜCHER.example/",
    "https://www.www.example/",
    "https://www.",
    "http://[2001:db8::1]:8080/",
    "http://a/b\nc",
    "https://blog.example\n",
    "google.com",
    "//google.com/",
    "about:blank",
    "https://",
    " https://google.com/",
    "",
    None,
    ABSENT,
    ABSENT,
)


@st.composite
def traffic_streams(draw: st.DrawFn) -> list[Event]:
    """Events in no order, as they are sent; look at them from any of AS_OFS."""
    at = st.sampled_from(draw(moments()))
    # Left alone, lists stay short: most streams shall be long enough for views to meet.
    fewest = draw(st.sampled_from((12, 12, 6, 0)))
    parts = draw(
        st.lists(
            st.one_of(
                walks(at),
                walks(at),
                walks(at),
                st.lists(conversions(at), min_size=1, max_size=3),
                st.lists(others(at), min_size=1, max_size=3),
            ),
            min_size=fewest,
            max_size=18,
        )
    )
    if not draw(st.integers(0, 3)):
        parts.append(draw(whole_days(at)))
    by_identity = {identity(event): event for part in parts for event in part}
    return draw(st.permutations(list(by_identity.values())))


def identity(event: Event) -> tuple[str, str, datetime]:
    """Return what makes an event itself."""
    return event["actor"]["client_id"], event["event_id"], instant(event["timestamp"])


@st.composite
def moments(draw: st.DrawFn, edges: Sequence[datetime] = EDGES) -> list[datetime]:
    """The moments of one stream: a few edges and days, and what lies a gap away from them."""
    day = st.integers(0, 240).map(lambda number: FIRST_DAY + number * DAY)
    edge = st.sampled_from(edges)
    anchors = draw(st.lists(st.one_of(edge, edge, day), min_size=1, max_size=4, unique=True))
    steps = draw(st.lists(st.sampled_from(AROUND), min_size=1, max_size=3, unique=True))
    near = (anchor + step for anchor in anchors for step in (timedelta(), *steps))
    return sorted({not_after_future(moment) for moment in near})


@st.composite
def walks(draw: st.DrawFn, at: Moments) -> list[Event]:
    """A visitor's views a gap apart, now and then under a session's id, and what came of them."""
    client_id = draw(st.sampled_from(EVENT_CLIENT_IDS))
    # Most walks are one person's; in others any of them may be behind a view.
    people = [draw(st.sampled_from(VISITORS))]
    if not draw(st.integers(0, 3)):
        people += [*draw(st.lists(st.sampled_from(VISITORS), max_size=2))]
        people.append(draw(st.sampled_from((*NOBODIES, *BOTS))))
    session_ids = draw(st.sampled_from(((ABSENT,), (ABSENT,), ("s-1",), SESSION_IDS)))
    started = now = draw(at)
    walk = []
    for _ in range(draw(st.integers(1, 6))):
        walk.append(draw(_view(client_id, now, people, session_ids)))
        ended = now
        now = not_after_future(now + draw(st.sampled_from(GAPS)))
    for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
        since = draw(st.sampled_from((started, ended)))
        moment = not_after_future(since + draw(st.sampled_from(AROUND)))
        person = draw(st.sampled_from(people))
        walk.append(draw(_conversion(client_id, moment, person, session_ids)))
    return walk


@st.composite
def whole_days(draw: st.DrawFn, at: Moments) -> list[Event]:
    """A visitor who does not rest: views so near each other that a day alone ends the session."""
    client_id = draw(st.sampled_from(EVENT_CLIENT_IDS))
    actor, context = draw(st.sampled_from(VISITORS))
    session_id = draw(st.sampled_from((ABSENT, ABSENT, "s-1")))
    started = draw(at)
    first_id = draw(st.integers(0, 2**64)) << 32
    last = draw(st.sampled_from(WHOLE_DAYS))
    after = draw(st.sampled_from((MINUTE, HALF_AN_HOUR - MICROSECOND, HALF_AN_HOUR)))
    steps = [number * 25 * MINUTE for number in range(58)]
    views = []
    for number, step in enumerate((*steps, last, last + after)):
        view = {
            "event_id": str(UUID(int=first_id + number)),
            "event": "page_view",
            "timestamp": written(not_after_future(started + step), 0),
            "actor": {"client_id": client_id, **actor},
            "context": given({"session_id": session_id, **context, "page": {"path": "/"}}),
        }
        views.append(view)
    return views


@st.composite
def conversions(draw: st.DrawFn, at: Moments) -> Event:
    """A contact or signup by itself, of anybody."""
    person = draw(st.sampled_from((*VISITORS, *NOBODIES, *BOTS)))
    client_id = draw(st.sampled_from(EVENT_CLIENT_IDS))
    return draw(_conversion(client_id, draw(at), person, SESSION_IDS))


@st.composite
def others(draw: st.DrawFn, at: Moments) -> Event:
    """Events that are no traffic, though they happen in sessions and on pages."""
    person = draw(st.sampled_from(VISITORS))
    name = draw(st.sampled_from(("session", "chat", "pdf_download")))
    client_id = draw(st.sampled_from(EVENT_CLIENT_IDS))
    context = draw(_context(person, SESSION_IDS)) | {"page": {"path": "/"}}
    event = draw(_event(name, client_id, draw(at), person, context))
    event["actor"]["unit_id"] = "u-1"
    return event


@st.composite
def _view(
    draw: st.DrawFn,
    client_id: str,
    moment: datetime,
    people: Sequence[tuple[Members, Members]],
    session_ids: Sequence[object],
) -> Event:
    person = draw(st.sampled_from(people))
    page = {
        "path": draw(st.sampled_from(PATHS)),
        "url": draw(st.sampled_from(URLS)),
        "referrer": draw(st.sampled_from(REFERRERS) | st.sampled_from(OWN_REFERRERS)),
        "title": draw(st.sampled_from(("Home", None, ABSENT))),
    }
    context = draw(_context(person, session_ids))
    context["page"] = given(page)
    if not draw(st.integers(0, 2)):
        context["campaign"] = draw(st.sampled_from(CAMPAIGNS))
    return draw(_event("page_view", client_id, moment, person, context))


@st.composite
def _conversion(
    draw: st.DrawFn,
    client_id: str,
    moment: datetime,
    person: tuple[Members, Members],
    session_ids: Sequence[object],
) -> Event:
    name = draw(st.sampled_from(("contact_submitted", "signup")))
    # A session's own id or none, or that of any.
    given_ids = draw(st.sampled_from((session_ids, session_ids, SESSION_IDS)))
    context = draw(_context(person, given_ids))
    return draw(_event(name, client_id, moment, person, context))


@st.composite
def _context(
    draw: st.DrawFn, person: tuple[Members, Members], session_ids: Sequence[object]
) -> Members:
    session_id = draw(st.sampled_from(session_ids))
    return given({"session_id": session_id, **person[1], **draw(st.sampled_from(SOURCES))})


@st.composite
def _event(
    draw: st.DrawFn,
    name: str,
    client_id: str,
    moment: datetime,
    person: tuple[Members, Members],
    context: Members,
) -> Event:
    event = {
        "event_id": draw(st.sampled_from(EVENT_IDS) | st.uuids().map(str)),
        "event": name,
        "timestamp": written(moment, draw(st.sampled_from(OFFSETS))),
        "actor": {"client_id": client_id, **person[0]},
    }
    if context or draw(st.booleans()):
        event["context"] = context
    return event


def not_after_future(moment: datetime) -> datetime:
    """Keep a moment within what may have been received."""
    return min(moment, FUTURE)


def written(moment: datetime, offset: int) -> str:
    """Write a moment with an offset of so many minutes."""
    text = moment.astimezone(timezone(timedelta(minutes=offset))).isoformat()
    return text.replace("+00:00", "Z") if offset == 0 else text


def given(members: Members) -> Members:
    """Return the members that are there at all."""
    return {name: value for name, value in members.items() if value is not ABSENT}


def some_hash(client_id: str, ip: str, user_agent: str) -> str:
    """Stand in for the salted hash of a visitor: one of its own for each of them."""
    return hashlib.sha256("\n".join((client_id, ip, user_agent)).encode()).hexdigest()


def ingested(events: Iterable[Event], hash_of: HashOf = some_hash) -> list[Event]:
    """Return the events as the reference takes them: with what ingestion finds out, without IPs.

    `hash_of` gives the visitor's hash for client, IP and user agent.
    """
    found = []
    for event in events:
        context = event.get("context") or {}
        ip, user_agent = context.get("ip"), context.get("user_agent")
        is_known = bool(ip) and bool(user_agent)
        found.append(
            event
            | {
                "context": {name: value for name, value in context.items() if name != "ip"},
                "_is_bot": user_agent in CRAWLERS,
                "_visitor_hash": (
                    hash_of(event["actor"]["client_id"], ip, user_agent) if is_known else None
                ),
            }
        )
    return found
