"""Turns events into lines: consent, sequence numbers, late arrivals, repetitions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from random import Random

from ingestion.contract.consent import BROWSER_SOURCES
from ingestion.sample.events import NEEDS_CONSENT, Event, Json, dumped, is_refused, new_uuid, stamp
from ingestion.sample.faults import Fault, chosen_for_breaking
from ingestion.sample.timeline import (
    DAY,
    LAST_SPILL,
    NEVER,
    SAMPLE_AS_OF,
    SAMPLE_MONTH,
    chance,
    seconds,
)
from ingestion.sample.world import World

REFUSED_SHARE = 0.045  # of the events that need consent; 2 % of all events
KEPT_AFTER_AS_OF = 15

GAPS = (
    # (producer, day, numbers lost before its first event at or after noon)
    ("messaging-gateway", date(2026, 2, 11), 7),
    ("chat-runtime-2", date(2026, 3, 19), 2),
    ("portal", date(2026, 4, 27), 1),
    ("chat-runtime-2", date(2026, 5, 12), 4),
)
FIRST_NUMBER = {"crm-core": 48_211}  # of a producer that started before the sample


def settled(events: list[Event], world: World, seed: int) -> list[Event]:
    """Return the events that producers sent, ordered by time, with consent and sequence set."""
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
    """Return a few events after the sample's end, the first one exactly at the end."""
    spilled = [event for event in events if SAMPLE_AS_OF <= event.at < LAST_SPILL]
    kept = rng.sample(spilled, KEPT_AFTER_AS_OF)
    min(kept, key=lambda event: event.at).at = SAMPLE_AS_OF
    return kept


def _refuse_consent(events: Iterable[Event], rng: Random) -> None:
    """Remove consent from some events, in each of the ways in which it can be missing."""
    for event in events:
        if event.name not in NEEDS_CONSENT or not chance(rng, REFUSED_SHARE):
            continue
        way = rng.randrange(3)
        if way == 0:
            event.context["dnt"] = True
        elif way == 1 and event.context["source"] in BROWSER_SOURCES:
            event.context.pop("consent", None)
        else:
            event.context["consent"] = {"analytics": False}


def _number(events: Iterable[Event]) -> None:
    """Number each producer's events in order of time, and skip the lost numbers."""
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

WITHOUT_ID = 8
PRODUCER_ZONES = {
    "messaging-gateway": timezone(timedelta(hours=-5)),
    "crm-core": UTC,
}
UPPER_CASE_IDS = "builder_action"  # its producer writes ids in upper case

# The gateway had no connection on these days and sent their events later.
HELD_BACK_BY = "messaging-gateway"
HELD_BACK = (datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC))
SENT_LATER_BY = timedelta(days=4)


@dataclass(frozen=True, slots=True)
class Line:
    """The bytes of a line without its end, and its arrival time."""

    arrives_at: datetime
    data: bytes


def _payload(event: Event, event_id: str | None) -> Json:
    """Return the event in the form in which its producer sends it."""
    zone = PRODUCER_ZONES.get(event.context.get("producer", ""))
    at = event.at.astimezone(zone).isoformat(timespec="milliseconds") if zone else stamp(event.at)
    payload: Json = {} if event_id is None else {"event_id": event_id}
    payload |= {"event": event.name, "timestamp": at, "actor": event.actor}
    if event.context:
        payload["context"] = event.context
    if event.properties:
        payload["properties"] = event.properties
    return payload


def lines(events: Sequence[Event], seed: int) -> list[Line]:
    """Return all lines of the sample: each event, some of them invalid, some sent twice."""
    rng = Random(f"{seed}:lines")
    broken = chosen_for_breaking(events, rng)
    anonymous = _chosen_without_id(events, rng, broken)
    lines = []
    for number, event in enumerate(events):
        event_id = None if number in anonymous else new_uuid(rng)
        if event_id is not None and event.name == UPPER_CASE_IDS:
            event_id = event_id.upper()
        payload = _payload(event, event_id)
        fault = broken.get(number)
        data = fault(payload) if fault else dumped(payload)
        arrives_at = _arrival(rng, event)
        lines.append(Line(arrives_at, data))
        repeated = number in anonymous or chance(rng, DUPLICATE_SHARE)
        if repeated and fault is None and not is_refused(event):
            lines.append(Line(_repetition(rng, arrives_at), data))
    return lines


def _chosen_without_id(
    events: Sequence[Event], rng: Random, broken: dict[int, Fault]
) -> frozenset[int]:
    """Choose API calls and metrics that are sent without an event id."""
    numbers = [
        number
        for number, event in enumerate(events)
        if event.name in ("api_request", "system_metric") and number not in broken
    ]
    return frozenset(rng.sample(numbers, WITHOUT_ID))


def _arrival(rng: Random, event: Event) -> datetime:
    """Return the arrival time: mostly at once, sometimes after minutes, days or weeks."""
    held_back = event.context.get("producer") == HELD_BACK_BY
    if held_back and HELD_BACK[0] <= event.at < HELD_BACK[1]:
        return event.at + SENT_LATER_BY
    part = rng.random()
    if part < 0.94:
        return event.at + seconds(rng.uniform(0.05, 20))
    if part < 0.975:
        return event.at + seconds(rng.uniform(60, 7200))
    if part < 0.993:
        return event.at + rng.uniform(0.1, 3) * DAY
    return event.at + rng.uniform(3, 25) * DAY


def _repetition(rng: Random, first: datetime) -> datetime:
    """Return when a line arrives again: a retry within minutes, or a file sent twice."""
    if chance(rng, 0.6):
        return first + seconds(rng.uniform(1, 300))
    return first + rng.uniform(0.2, 45) * DAY


def by_arrival(lines: list[Line]) -> dict[str, list[bytes]]:
    """Return the lines by file, in order of arrival; the last file has all from May on."""
    files: dict[str, list[bytes]] = {name: [] for name in EVENT_FILES}
    for line in sorted(lines, key=lambda line: line.arrives_at):
        month = 5 if line.arrives_at >= SAMPLE_MONTH else line.arrives_at.month
        files[EVENT_FILES[month - 1]].append(line.data)
    return files
