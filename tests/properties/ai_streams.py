"""Random chats and what goes with them, made so that the rules of the AI usage marts meet.

Few ids and few moments, so that chats share messages, conversations, days and instants. Every
event is accepted by the contract, and each (client_id, event_id, timestamp) comes once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Any

from hypothesis import strategies as st

from tests.reference.intake import instant

Event = dict[str, Any]
Entity = dict[str, Any]
Stream = tuple[list[Event], list[Entity], list[Entity]]

MICROSECOND = timedelta(microseconds=1)
SEVEN_DAYS = timedelta(hours=7 * 24)
THIRTY_DAYS = timedelta(hours=30 * 24)
# A member that is not there at all, where None is one that is null.
ABSENT = object()


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# The instants to look from: neighbours a microsecond apart, both windows long, around a month's
# first midnight and at its last microsecond.
AS_OFS = (
    _at("2025-02-27T06:30"),
    _at("2025-02-27T06:30") + MICROSECOND,
    _at("2025-03-01T00:00"),
    _at("2025-03-01T00:00") + MICROSECOND,
    _at("2025-02-27T06:30") + SEVEN_DAYS,
    _at("2025-02-27T06:30") + SEVEN_DAYS + MICROSECOND,
    _at("2025-02-27T06:30") + THIRTY_DAYS,
    _at("2025-03-31T23:59:59.999999"),
    _at("2025-06-01T12:00"),
)
EDGES = (
    *(
        edge + nudge
        for as_of in AS_OFS
        for edge in (as_of, as_of - SEVEN_DAYS, as_of - THIRTY_DAYS)
        for nudge in (-MICROSECOND, timedelta(), MICROSECOND)
    ),
    _at("2025-02-27T00:00"),
    _at("2025-02-27T23:59:59.999999"),
    _at("2025-02-28T00:00"),
    # The same month of another year, and both sides of a year's end.
    _at("2024-02-29T23:59:59.999999"),
    _at("2024-03-01T00:00"),
    _at("2024-12-31T23:59:59.999999"),
    _at("2025-01-01T00:00"),
    # Ahead of every look.
    _at("2025-06-01T12:00") + timedelta(days=40),
)

# The platform's own chats count like any other's here.
CLIENT_IDS = ("acme", "_platform")
SHARED_USER = "sam"
USERS_OF = {
    # The key of chats without a user, sent as a name.
    "acme": ("ann", SHARED_USER, "none", None),
    "_platform": ("pia", SHARED_USER, None),
}
USER_IDS = ("ann", "pia", SHARED_USER, "none")
CONVERSATION_IDS = ("c-1", "c-2", "c-3", "", None)
MESSAGE_IDS = ("m-1", "m-2", "m-3", "", None)
DOCUMENT_IDS = ("d-1", "d-2", None)
DOWNLOADED_IDS = (*DOCUMENT_IDS, "d-3", "")
# One is called what chats without a model are counted as.
MODEL_NAMES = ("small", "unknown", None)
# More than ten, and in another order by locale, by number or by UTF-16.
SECTIONS = ("", "1", "10", "2", "A", "B", "a", "b", "Ä", "é", "§ 4", "ﬁ", "😀")
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
EXTRAS = {
    "channel": st.sampled_from(("web", "", None)),
    # Planned for other events, not for a chat.
    "rating": st.integers(1, 5),
    "extra": st.just({"tags": ["a", None], "depth": {"of": 2.5}}),
}


@st.composite
def chat_streams(draw: st.DrawFn) -> Stream:
    """Events in no order, users and documents; look at them from any of AS_OFS."""
    at = st.sampled_from(draw(st.lists(moments(), min_size=1, max_size=10, unique=True)))
    # Left alone, lists stay short: most streams shall be long enough for chats to meet.
    fewest = draw(st.sampled_from((0, 10, 20, 20)))
    events = draw(
        st.lists(
            st.one_of(chats(at), chats(at), chats(at), feedbacks(at), others(at)),
            min_size=fewest,
            max_size=40,
            unique_by=_identity,
        )
    )
    users = [
        draw(user_entities(user_id, events))
        for user_id in (*USER_IDS, "never-seen")
        if draw(st.integers(0, 3))
    ]
    documents = [
        draw(document_entities(document_id))
        for document_id in ("d-1", "d-2", "d-9")
        if draw(st.booleans())
    ]
    return events, users, documents


def _identity(event: Event) -> tuple[str, str, datetime]:
    return event["actor"]["client_id"], event["event_id"], instant(event["timestamp"])


@cache
def moments() -> st.SearchStrategy[datetime]:
    """Moments at edges, and any within a few days up to a month's end."""
    few_days = st.timedeltas(timedelta(0), timedelta(days=5)).map(lambda ago: AS_OFS[2] - ago)
    return st.one_of(st.sampled_from(EDGES), few_days)


@st.composite
def chats(draw: st.DrawFn, at: st.SearchStrategy[datetime]) -> Event:
    """Chats with any of the plan's properties, and some that it does not know."""
    client_id = draw(st.sampled_from(CLIENT_IDS))
    properties = _given(
        {
            "conversation_id": draw(_absent_as_well(CONVERSATION_IDS)),
            "message_id": draw(_absent_as_well(MESSAGE_IDS)),
            "document_id": draw(_absent_as_well(DOCUMENT_IDS)),
        }
    )
    properties |= draw(_measures())
    event = _event(draw, "chat", client_id, at)
    # Properties may be missing or null as a whole, too.
    event["properties"] = draw(st.sampled_from((properties,) * 8 + (None, ABSENT)))
    return _given(event)


@cache
def _measures() -> st.SearchStrategy[dict[str, Any]]:
    planned = {
        "model_name": st.sampled_from(MODEL_NAMES),
        "model_version": st.sampled_from(("2", "", None)),
        "model_provider": st.sampled_from(("here", None)),
        "tokens_prompt": token_counts(),
        "tokens_completion": token_counts(),
        "tokens_cached": token_counts(),
        "cost_prompt": costs(),
        "cost_completion": costs(),
        "cost_cached": costs(),
        "response_time_ms": response_times(),
        "cache_hit": st.sampled_from((True, False, None)),
        "error_occurred": st.sampled_from((True, False, None)),
        "error_code": st.sampled_from(("timeout", "", None)),
        "error_message": st.sampled_from(("too late", "", None)),
        "query_intent": st.sampled_from(
            ("simple_lookup", "regulatory", "comparative", "complex", None)
        ),
        # The plan gives these two no lower bound of 0.
        "user_query_length": st.sampled_from((0, 12, 12.0, -1, -(10**15), None)),
        "ai_response_length": st.sampled_from((0, 300, 300.0, -1, 10**15, None)),
        "intermediate_steps": st.sampled_from((0, 3, 3.0, 10**15, None)),
        "sections_referenced": st.one_of(
            st.none(),
            st.lists(st.sampled_from(SECTIONS), max_size=8),
            st.permutations(SECTIONS),
        ),
    }
    return st.fixed_dictionaries({}, optional=planned | EXTRAS)


@cache
def token_counts() -> st.SearchStrategy[float | None]:
    """Small counts that come to limits exactly, now and then the largest that may be."""
    small = st.sampled_from((0, 1, 2, 7, 8, 9, 10, 79, 80, 81, 100, 100.0))
    return st.one_of(small, small, st.integers(0, 1000), st.sampled_from((None, 10**15)))


@cache
def costs() -> st.SearchStrategy[float | None]:
    """USD with up to 8 decimal places, few enough digits for a float to write them again."""
    return st.one_of(
        st.sampled_from((0.1, 0.2, 0.3, 0.08, 0.09, 0.8)),
        st.decimals(Decimal(0), Decimal(10), places=8).map(float),
        st.sampled_from((0, 0.0, None, 1e-08, 0.0000005, 0.000001, 1, 10**15)),
    )


@cache
def response_times() -> st.SearchStrategy[float | None]:
    """Milliseconds: whole, with halves and other fractions, none."""
    return st.one_of(
        st.integers(0, 20),
        st.integers(0, 400).map(lambda quarters: quarters / 4),
        st.decimals(Decimal(0), Decimal(5000), places=3).map(float),
        st.sampled_from((None, 0, 0.5, 1e-07, 10**15)),
    )


@st.composite
def feedbacks(draw: st.DrawFn, at: st.SearchStrategy[datetime]) -> Event:
    """Ratings of messages that a chat may have, before it, after it, or by someone else."""
    event = _event(draw, "chat_feedback", draw(st.sampled_from(CLIENT_IDS)), at)
    named = tuple(message_id for message_id in MESSAGE_IDS if message_id is not None)
    event["properties"] = _given(
        {
            "message_id": draw(st.sampled_from((*named, "m-9"))),
            "rating": draw(st.sampled_from((1, 2, 3, 4, 5, 4.0))),
            "text": draw(st.sampled_from(("good", "", None, ABSENT))),
        }
    )
    return event


@st.composite
def others(draw: st.DrawFn, at: st.SearchStrategy[datetime]) -> Event:
    """Events that have a chat's ids but are none; of them only a download uses a document."""
    client_id = draw(st.sampled_from(CLIENT_IDS))
    name = draw(st.sampled_from(("message", "signup", "pdf_download")))
    event = _event(draw, name, client_id, at)
    if name == "message":
        event["actor"]["lead_id"] = "l-1"
        event["properties"] = {
            "direction": "outbound",
            "sender_type": "ai",
            "conversation_id": draw(st.sampled_from(CONVERSATION_IDS)),
            "message_id": draw(st.sampled_from(MESSAGE_IDS)),
        }
    if name == "pdf_download":
        event["properties"] = _given({"document_id": draw(_absent_as_well(DOWNLOADED_IDS))})
    return event


def _event(draw: st.DrawFn, name: str, client_id: str, at: st.SearchStrategy[datetime]) -> Event:
    actor = {
        "client_id": client_id,
        "user_id": draw(st.sampled_from((*USERS_OF[client_id], *[SHARED_USER] * 4, "", ABSENT))),
    }
    return {
        "event_id": draw(st.sampled_from(EVENT_IDS) | st.uuids().map(str)),
        "event": name,
        "timestamp": _written(draw(at), draw(st.sampled_from(OFFSETS))),
        "actor": _given(actor),
    }


def _written(moment: datetime, offset: int) -> str:
    text = moment.astimezone(timezone(timedelta(minutes=offset))).isoformat()
    return text.replace("+00:00", "Z") if offset == 0 else text


def _absent_as_well(values: tuple[str | None, ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from((*values, ABSENT))


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not ABSENT}


def _use_of_a_month(
    draw: st.DrawFn, user_id: str, events: list[Event]
) -> tuple[int, Decimal, Decimal]:
    """Messages, tokens and USD of one of the user's months, zeros without a chat."""
    own = [
        event
        for event in events
        if event["event"] == "chat" and event["actor"].get("user_id") == user_id
    ]
    if not own:
        return 0, Decimal(0), Decimal(0)
    month = draw(st.sampled_from([instant(event["timestamp"]).strftime("%Y-%m") for event in own]))
    tokens, cost = Decimal(0), Decimal(0)
    own = [event for event in own if instant(event["timestamp"]).strftime("%Y-%m") == month]
    for event in own:
        properties = event.get("properties") or {}
        for name in ("tokens_prompt", "tokens_completion"):
            tokens += Decimal(str(properties.get(name) or 0))
        for name in ("cost_prompt", "cost_completion", "cost_cached"):
            cost += Decimal(str(properties.get(name) or 0))
    return len(own), tokens, cost


@st.composite
def _limits_near(draw: st.DrawFn, used: int | Decimal, *, whole: bool) -> float:
    """Limits of which this use is 80, 90 or 100 percent, a little more or a little less."""
    exactly = used * draw(st.sampled_from((Decimal(1), Decimal("1.25"), Decimal(10) / 9)))
    limit = exactly + draw(st.sampled_from((0, 0, 1, -1))) * (
        Decimal(1) if whole else Decimal("0.00000001")
    )
    within = min(max(limit, Decimal(0)), Decimal(10**15))
    return int(within) if whole else float(within.quantize(Decimal("0.00000001")))


@st.composite
def user_entities(draw: st.DrawFn, user_id: str, events: list[Event]) -> Entity:
    """A user with any of the limits, perhaps created after the look or just at it.

    Some limits are far from what these events use, some are just about it.
    """
    long_ago = _at("2023-05-01T00:00")
    messages, tokens, cost = _use_of_a_month(draw, user_id, events)
    any_limit = {
        "monthly_message_limit": st.one_of(
            st.sampled_from((0, 1, 2, 3, 4, 5, 10)),
            _limits_near(messages, whole=True),
            _limits_near(messages, whole=True),
        ),
        "monthly_token_limit": st.one_of(
            st.sampled_from((0, 10, 100, 200, 1000, 10**15)),
            _limits_near(tokens, whole=True),
            _limits_near(tokens, whole=True),
        ),
        "monthly_cost_limit": st.one_of(
            st.sampled_from((0, 0.3, 1, 2.5, 5, 0.00000001, 10**15)),
            _limits_near(cost, whole=False),
            _limits_near(cost, whole=False),
        ),
    }
    # Often one alone: where there are three, one of them is soon reached.
    names = tuple(any_limit)
    has = draw(st.sampled_from(((), names, *((name,) for name in names), names[:2], names[1:])))
    limits = {
        name: draw(limit) if name in has else draw(st.sampled_from((None, ABSENT)))
        for name, limit in any_limit.items()
    }
    return _given(
        {
            "user_id": user_id,
            "client_id": draw(st.sampled_from((*CLIENT_IDS, None))),
            "role": draw(st.sampled_from(("admin", "member", None))),
            "plan": draw(st.sampled_from(("pro", None))),
            "created_at": _written(
                draw(st.just(long_ago) | st.just(long_ago) | st.sampled_from(EDGES)),
                draw(st.sampled_from(OFFSETS)),
            ),
            "updated_at": "2025-05-01T00:00:00Z",
            **limits,
        }
    )


@st.composite
def document_entities(draw: st.DrawFn, document_id: str) -> Entity:
    """A document with any of its columns."""
    return {
        "document_id": document_id,
        "title": draw(st.sampled_from(("Plan", None))),
        "city": draw(st.sampled_from(("Bern", "", None))),
        "zoning": draw(st.sampled_from(("residential", None))),
        "zone": draw(st.sampled_from(("W2", None))),
        "updated_at": "2025-05-01T00:00:00Z",
    }
