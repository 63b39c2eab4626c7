"""What the traffic marts hold, computed as slowly and plainly as the contract describes it.

Written to be checked against the contract by reading; it imports nothing from the product.

Events are dicts as they came (`event`, `event_id` in lower case, `timestamp`, `actor`, `context`),
accepted ones alone, each (client_id, event_id, timestamp) once. What ingestion finds out on the
way in comes with them as two members more: `_visitor_hash` (hexadecimal text, or None) and
`_is_bot`; absent, they are None and False. `as_of` knows its time zone.

Rows are dicts with the contract's columns, without `updated_at`. Whole numbers are int, rates
Decimal, times datetime in UTC, days date, months text. The order of rows means nothing.

The contract leaves open what hash names a session that is cut from a visitor's page views: its
`session_id` is None here. Compare `sessions` with that id left out of a row wherever it is not the
producer's; several rows may then be equal.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

from tests.reference.ai_usage import grouped, mean, pct2, rounded_whole
from tests.reference.clients import has_ended, month_of, seconds
from tests.reference.intake import instant

Event = dict[str, Any]
Row = dict[str, Any]
Origin = tuple[str, str, str]

NONE = "none"
DIRECT = "direct"
REFERRAL = "referral"
HALF_AN_HOUR = timedelta(minutes=30)
LONGEST_CUT_SESSION = timedelta(hours=24)
CONVERSIONS = ("contact_submitted", "signup")
FUNNEL_STEPS = ("visit", "engaged", "converted")

# The site's name, its medium, and which hosts without `www.` are its; the first that fits counts.
SITES = (
    ("google", "organic", r"(^|\.)google(\.[a-z]{2,3}){1,2}$"),
    ("bing", "organic", r"(^|\.)bing\.com$"),
    ("duckduckgo", "organic", r"(^|\.)duckduckgo\.com$"),
    ("yahoo", "organic", r"(^|\.)yahoo(\.[a-z]{2,3}){1,2}$"),
    ("baidu", "organic", r"(^|\.)baidu\.com$"),
    ("yandex", "organic", r"(^|\.)(yandex(\.[a-z]{2,3}){1,2}|ya\.ru)$"),
    ("ecosia", "organic", r"(^|\.)ecosia\.org$"),
    ("facebook", "social", r"(^|\.)(facebook\.com|fb\.com|fb\.me)$"),
    ("instagram", "social", r"(^|\.)instagram\.com$"),
    ("linkedin", "social", r"(^|\.)(linkedin\.com|lnkd\.in)$"),
    ("twitter", "social", r"(^|\.)(twitter\.com|x\.com|t\.co)$"),
    ("reddit", "social", r"(^|\.)(reddit\.com|redd\.it)$"),
    ("youtube", "social", r"(^|\.)(youtube\.com|youtu\.be)$"),
    ("pinterest", "social", r"(^|\.)(pinterest(\.[a-z]{2,3}){1,2}|pin\.it)$"),
    ("tiktok", "social", r"(^|\.)tiktok\.com$"),
)


@dataclass(frozen=True)
class Hit:
    """A page view, contact or signup of a person, as far as it is known who that is."""

    name: str
    at: datetime
    event_id: str
    client_id: str
    visitor: str | None
    session_id: str | None
    page: dict[str, Any]
    campaign: dict[str, Any]

    @property
    def day(self) -> date:
        return self.at.date()

    @property
    def hour(self) -> datetime:
        return self.at.replace(minute=0, second=0, microsecond=0)

    @property
    def month(self) -> str:
        return month_of(self.day)


@dataclass(frozen=True)
class Session:
    """Page views of one client that belong together, in order; the id is the producer's."""

    session_id: str | None
    views: list[Hit]

    @property
    def client_id(self) -> str:
        return self.views[0].client_id

    @property
    def visitor(self) -> str | None:
        return self.views[0].visitor

    @property
    def started_at(self) -> datetime:
        return self.views[0].at

    @property
    def ended_at(self) -> datetime:
        return self.views[-1].at

    @property
    def duration(self) -> Fraction:
        return seconds(self.ended_at - self.started_at)

    def is_converted_by(self, conversion: Hit) -> bool:
        """Whether a contact or signup is this session's.

        One with a session's id is that session's, whenever and by whomever; one without is its
        visitor's, in the time of the session and the half hour after its last view.
        """
        if conversion.client_id != self.client_id:
            return False
        if conversion.session_id is not None:
            return conversion.session_id == self.session_id
        return (
            conversion.visitor == self.visitor
            and self.started_at <= conversion.at < self.ended_at + HALF_AN_HOUR
        )


def all_marts(events: list[Event], as_of: datetime) -> dict[str, list[Row]]:
    """Return the rows of every mart of the section, by its name."""
    return {
        "sessions": sessions(events, as_of),
        "stats_hourly": stats_hourly(events, as_of),
        "stats_daily": stats_daily(events, as_of),
        "traffic_countries_daily": traffic_countries_daily(events, as_of),
        "top_pages_daily": top_pages_daily(events, as_of),
        "traffic_sources_daily": traffic_sources_daily(events, as_of),
        "visitor_funnel_monthly": visitor_funnel_monthly(events, as_of),
    }


def sessions(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per session; `session_id` is None where the producer gave none."""
    conversions = conversions_seen(events, as_of)
    rows = []
    for session in all_sessions(events, as_of):
        first, last = session.views[0], session.views[-1]
        source, medium, campaign = origin(first)
        rows.append(
            {
                "client_id": session.client_id,
                "session_id": session.session_id,
                "is_cut": session.session_id is None,
                "visitor_id": session.visitor,
                "started_at": session.started_at,
                "started_on": session.started_at.date(),
                "ended_at": session.ended_at,
                "ended_on": session.ended_at.date(),
                "duration_seconds": rounded_whole(session.duration),
                "page_views": len(session.views),
                "entry_path": first.page["path"],
                "exit_path": last.page["path"],
                "source": source,
                "medium": medium,
                "campaign": campaign,
                "is_bounce": len(session.views) == 1,
                "converted": is_converted(session, conversions),
            }
        )
    return rows


def stats_hourly(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per client and hour with a page view, contact or signup."""
    return _stats(events, as_of, "hour", lambda hit: hit.hour)


def stats_daily(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per client and day with a page view, contact or signup."""
    return _stats(events, as_of, "date", lambda hit: hit.day)


def _stats(
    events: list[Event], as_of: datetime, column: str, period_of: Callable[[Hit], Hashable]
) -> list[Row]:
    """A session counts as a whole in the period in which it started."""
    hits = [*views_seen(events, as_of), *conversions_seen(events, as_of)]
    started = grouped(
        all_sessions(events, as_of),
        lambda session: (session.client_id, period_of(session.views[0])),
    )
    rows = []
    for cell, of_cell in grouped(hits, lambda hit: (hit.client_id, period_of(hit))).items():
        client_id, period = cell
        views = [hit for hit in of_cell if hit.name == "page_view"]
        of_sessions = started.get(cell, [])
        rows.append(
            {
                "client_id": client_id,
                column: period,
                "page_views": len(views),
                "unique_visitors": visitors(views),
                "sessions": len(of_sessions),
                "bounces": sum(len(session.views) == 1 for session in of_sessions),
                "avg_session_seconds": rounded_whole(
                    mean([session.duration for session in of_sessions])
                ),
                "contact_submissions": sum(hit.name == "contact_submitted" for hit in of_cell),
                "signups": sum(hit.name == "signup" for hit in of_cell),
            }
        )
    return rows


def traffic_countries_daily(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per client and day with a page view: no country is known without a database."""
    days = grouped(views_seen(events, as_of), lambda view: (view.client_id, view.day))
    return [
        {
            "client_id": client_id,
            "date": day,
            "country": NONE,
            "page_views": len(views),
            "unique_visitors": visitors(views),
        }
        for (client_id, day), views in days.items()
    ]


def top_pages_daily(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per client, day and path with a page view; entries and exits are such views."""
    found = all_sessions(events, as_of)
    entries = [session.views[0] for session in found]
    exits = [session.views[-1] for session in found]
    cells = grouped(views_seen(events, as_of), _page_cell)
    return [
        {
            "client_id": cell[0],
            "date": cell[1],
            "path": cell[2],
            "page_views": len(views),
            "unique_visitors": visitors(views),
            "entries": sum(_page_cell(view) == cell for view in entries),
            "exits": sum(_page_cell(view) == cell for view in exits),
        }
        for cell, views in cells.items()
    ]


def _page_cell(view: Hit) -> tuple[str, date, str]:
    return view.client_id, view.day, view.page["path"]


def traffic_sources_daily(events: list[Event], as_of: datetime) -> list[Row]:
    """One row per client, day and origin of a session that started on it."""
    conversions = conversions_seen(events, as_of)
    cells = grouped(
        all_sessions(events, as_of),
        lambda session: (session.client_id, session.started_at.date(), origin(session.views[0])),
    )
    rows = []
    for (client_id, day, (source, medium, campaign)), of_cell in cells.items():
        converted = sum(is_converted(session, conversions) for session in of_cell)
        rows.append(
            {
                "client_id": client_id,
                "date": day,
                "source": source,
                "medium": medium,
                "campaign": campaign,
                "sessions": len(of_cell),
                "visitors": len({session.visitor for session in of_cell}),
                "page_views": sum(len(session.views) for session in of_cell),
                "conversions": converted,
                "conversion_rate": pct2(converted, len(of_cell)),
            }
        )
    return rows


def visitor_funnel_monthly(events: list[Event], as_of: datetime) -> list[Row]:
    """Three rows per client and month with a page view."""
    conversions = conversions_seen(events, as_of)
    found = all_sessions(events, as_of)
    months = grouped(views_seen(events, as_of), lambda view: (view.client_id, view.month))
    rows = []
    for (client_id, month), views in months.items():
        first_view: dict[str | None, datetime] = {}
        for view in views:
            first_view.setdefault(view.visitor, view.at)
        engaged = {
            session.visitor
            for session in found
            if session.client_id == client_id
            and month_of(session.started_at.date()) == month
            and len(session.views) >= 2
        }
        converted = {
            conversion.visitor
            for conversion in conversions
            if conversion.client_id == client_id
            and conversion.month == month
            and conversion.visitor in first_view
            and conversion.at >= first_view[conversion.visitor]
        }
        reached = {
            "visit": set(first_view),
            "engaged": engaged & set(first_view),
            "converted": converted,
        }
        rows.extend(
            {
                "client_id": client_id,
                "month": month,
                "step": step,
                "step_order": order,
                "visitors": len(reached[step]),
                "conversion_rate": pct2(len(reached[step]), len(reached["visit"])),
                "is_complete": has_ended(month, as_of),
            }
            for order, step in enumerate(FUNNEL_STEPS, start=1)
        )
    return rows


def views_seen(events: Iterable[Event], as_of: datetime) -> list[Hit]:
    """Return the page views before `as_of` of visitors who are no bots, in order."""
    return [
        hit
        for hit in _hits_in_order(events, as_of)
        if hit.name == "page_view" and hit.visitor is not None
    ]


def conversions_seen(events: Iterable[Event], as_of: datetime) -> list[Hit]:
    """Return the contacts and signups before `as_of` that no bot made, in order.

    They need no visitor to be counted, or to be a session's whose id they have.
    """
    return [hit for hit in _hits_in_order(events, as_of) if hit.name in CONVERSIONS]


def _hits_in_order(events: Iterable[Event], as_of: datetime) -> list[Hit]:
    seen = [
        _hit(event)
        for event in events
        if event["event"] in ("page_view", *CONVERSIONS) and not event.get("_is_bot", False)
    ]
    return sorted(
        (hit for hit in seen if hit.at < as_of),
        key=lambda hit: (hit.at, uuid.UUID(hit.event_id)),
    )


def _hit(event: Event) -> Hit:
    actor = event["actor"]
    context = event.get("context") or {}
    return Hit(
        name=event["event"],
        at=instant(event["timestamp"]),
        event_id=event["event_id"],
        client_id=actor["client_id"],
        # An empty string counts as absent here and in the campaign; in the page it is a value.
        visitor=actor.get("user_id") or actor.get("anonymous_id") or event.get("_visitor_hash"),
        session_id=context.get("session_id") or None,
        page=context.get("page") or {},
        campaign=context.get("campaign") or {},
    )


def visitors(views: Iterable[Hit]) -> int:
    """How many visitors of one client had these views."""
    return len({view.visitor for view in views})


def all_sessions(events: Iterable[Event], as_of: datetime) -> list[Session]:
    """Return every client's sessions.

    Views with a session's id are that session's, whoever had them and however long it went on. The
    others of a visitor are cut where half an hour or more passed without any of them, and where
    the session would come to 24 hours.
    """
    views = views_seen(events, as_of)
    named = grouped(
        (view for view in views if view.session_id is not None),
        lambda view: (view.client_id, view.session_id),
    )
    unnamed = grouped(
        (view for view in views if view.session_id is None),
        lambda view: (view.client_id, view.visitor),
    )
    found = [Session(session_id, of_session) for (_, session_id), of_session in named.items()]
    for of_visitor in unnamed.values():
        found.extend(Session(None, of_session) for of_session in cut(of_visitor))
    return found


def cut(views: list[Hit]) -> list[list[Hit]]:
    """Cut a visitor's views, in order, into those of each session."""
    pieces: list[list[Hit]] = []
    for view in views:
        goes_on = (
            bool(pieces)
            and view.at - pieces[-1][-1].at < HALF_AN_HOUR
            and view.at - pieces[-1][0].at < LONGEST_CUT_SESSION
        )
        if goes_on:
            pieces[-1].append(view)
        else:
            pieces.append([view])
    return pieces


def is_converted(session: Session, conversions: Iterable[Hit]) -> bool:
    """Whether any of the contacts and signups is this session's."""
    return any(session.is_converted_by(conversion) for conversion in conversions)


def origin(view: Hit) -> Origin:
    """Return source, medium and campaign of a view."""
    given = {name: value for name, value in view.campaign.items() if value not in (None, "")}
    if "source" in given:
        return given["source"], given.get("medium", NONE), given.get("name", NONE)
    host = host_of(view.page.get("referrer"))
    if host is None or host == host_of(view.page.get("url")):
        return DIRECT, NONE, NONE
    source, medium = site_of(host)
    return source, medium, NONE


def site_of(host: str) -> tuple[str, str]:
    """Return the site that a host without `www.` belongs to, and its medium."""
    for site, medium, pattern in SITES:
        # `$` in Python also fits before a line end; the end of the text is meant.
        if re.search(pattern.replace("$", r"\Z"), host):
            return site, medium
    return host, REFERRAL


def host_of(address: str | None) -> str | None:
    """Return an address's host in lower case, without user, port and a leading `www.`.

    None where it names none: it must say its scheme.
    """
    found = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)", address or "")
    if found is None:
        return None
    host = found.group(1).rpartition("@")[2]
    host = re.sub(r":[0-9]*\Z", "", host)
    host = "".join(letter.lower() if letter.isascii() else letter for letter in host)
    return host.removeprefix("www.") or None
