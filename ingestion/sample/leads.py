"""Events of leads: they ask, are answered, book, pay and rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from ingestion.sample.events import Event, present, stamp
from ingestion.sample.timeline import DAY, chance, later, seconds, weighted
from ingestion.sample.world import Client, World, client_moments

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
    """One lead; its id is unique within its client only, as in the contract."""

    client: Client
    lead_id: str
    created_at: datetime
    source: str | None
    conversation_id: str | None


def lead_stories(world: World, rng: Random) -> Iterator[Event]:
    """Yield all events of all leads, from the first contact to the rating."""
    numbers: Counter[str] = Counter()
    for client, at in client_moments(world.clients, rng, LEADS_PER_DAY):
        numbers[client.client_id] += 1
        number = numbers[client.client_id]
        lead = Lead(
            client=client,
            lead_id=f"lead-{number:04d}",
            created_at=at,
            source=weighted(rng, LEAD_SOURCES),
            conversation_id=f"thread-{number:04d}" if chance(rng, 0.9) else None,
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
        yield _staged(lead, "qualifying", replies[0] + seconds(2))
        yield from _sale(rng, lead, replies[0])
    elif chance(rng, 0.3):
        yield _staged(lead, "lost", later(rng, lead.created_at, 200))


def _lead_event(lead: Lead, name: str, at: datetime, **properties: object) -> Event:
    actor = {"client_id": lead.client.client_id, "lead_id": lead.lead_id}
    context = {"source": "runtime", "producer": "crm-core"}
    return Event(at, name, actor, present(**properties), context)


def _staged(lead: Lead, stage: str, at: datetime) -> Event:
    return _lead_event(lead, "lead_stage_changed", at, stage=stage)


def _creation(rng: Random, lead: Lead) -> Iterator[Event]:
    """Yield `lead_created`: usually once; never for imported leads, twice for a repeated form."""
    if chance(rng, 0.012):
        return
    campaign = weighted(rng, LEAD_CAMPAIGNS)
    yield _lead_event(lead, "lead_created", lead.created_at, source=lead.source, campaign=campaign)
    if chance(rng, 0.01):
        yield _lead_event(lead, "lead_created", later(rng, lead.created_at, 30), source="web_form")


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
    """Yield messages and their answers: by the AI within seconds, by people later, or never."""
    at = lead.created_at + seconds(rng.uniform(4, 60))
    if lead.source == "missed_call":
        yield _message(lead, at, "ai")
        if chance(rng, 0.25):
            return
        at += seconds(rng.lognormvariate(5, 1))
    while True:
        yield _message(lead, at, "lead")
        if chance(rng, 0.15):
            at += seconds(rng.uniform(3, 50))
            yield _message(lead, at, "lead")
        if chance(rng, 0.09):
            return
        escalated = chance(rng, 0.05)
        if escalated:
            at += seconds(rng.uniform(1, 20))
            reason = rng.choice(ESCALATION_REASONS)
            yield _lead_event(lead, "escalation_opened", at, reason=reason)
        sender = "ai" if not escalated and chance(rng, lead.client.ai_share) else "human"
        at += _answer_delay(rng, sender)
        yield _message(lead, at, sender)
        if chance(rng, 0.4):
            return
        at += seconds(rng.lognormvariate(7, 1.5))


def _answer_delay(rng: Random, sender: str) -> timedelta:
    """Return the delay: seconds for the AI, minutes to hours or a day for a person."""
    if sender == "ai":
        return seconds(rng.lognormvariate(3.2, 0.9))
    if chance(rng, 0.12):
        return seconds(rng.uniform(10 * 3600, 22 * 3600))
    return seconds(rng.lognormvariate(6.6, 1.1))


def _sale(rng: Random, lead: Lead, replied_at: datetime) -> Iterator[Event]:
    """Yield the events from the first answer to a job, or until the lead is lost."""
    if not chance(rng, 0.7):
        yield from _dropped(rng, lead, replied_at, stage="nurturing")
        return
    hurried = chance(rng, 0.05)  # before the first answer, so the ordered funnel skips it
    qualified_at = lead.created_at + seconds(1) if hurried else later(rng, replied_at, 9)
    yield _lead_event(lead, "qualified", qualified_at)
    yield _staged(lead, "hot", qualified_at + seconds(3))
    if not chance(rng, 0.66):
        yield from _dropped(rng, lead, max(qualified_at, replied_at), stage=None)
        return
    booked_at = later(rng, max(qualified_at, replied_at), 22)
    visit = booked_at.replace(minute=0, second=0, microsecond=0) + rng.randrange(1, 9) * DAY
    yield _lead_event(lead, "appointment_booked", booked_at, appointment_at=stamp(visit))
    yield _staged(lead, "booked", booked_at + seconds(1))
    yield from _offer(rng, lead, booked_at)


def _dropped(rng: Random, lead: Lead, at: datetime, stage: str | None) -> Iterator[Event]:
    at = later(rng, at, 40)
    if stage is not None:
        yield _staged(lead, stage, at)
    if chance(rng, 0.5):
        at = later(rng, at, 120)
        yield _lead_event(lead, "job_lost", at, reason=rng.choice(LOSS_REASONS))
        yield _staged(lead, "lost", at + seconds(1))
        if chance(rng, 0.08):
            yield _staged(lead, "nurturing", later(rng, at, 200))


def _offer(rng: Random, lead: Lead, booked_at: datetime) -> Iterator[Event]:
    value = round(rng.lognormvariate(11.3, 0.8))
    asked_at = later(rng, booked_at, 30)
    if chance(rng, 0.85):
        yield _lead_event(lead, "quote_requested", asked_at)
    sent_at = later(rng, asked_at, 20)
    known = value if chance(rng, 0.95) else None
    yield _lead_event(lead, "quote_sent", sent_at, value_cents=known)
    if not chance(rng, 0.68):
        yield from _dropped(rng, lead, sent_at, stage=None)
        return
    accepted_at = later(rng, sent_at, 50)
    yield _lead_event(lead, "quote_accepted", accepted_at)
    if chance(rng, 0.94):
        won_at = later(rng, accepted_at, 60)
        yield _lead_event(lead, "job_won", won_at, value_cents=value)
        yield from _payment(rng, lead, won_at, value)
        if chance(rng, 0.03):
            second = round(value * rng.uniform(0.1, 0.5))
            yield _lead_event(lead, "job_won", later(rng, won_at, 300), value_cents=second)


def _payment(rng: Random, lead: Lead, won_at: datetime, value: int) -> Iterator[Event]:
    invoice = f"inv-{lead.lead_id[5:]}"
    invoiced_at = later(rng, won_at, 48)
    yield _lead_event(lead, "invoice_sent", invoiced_at, value_cents=value, invoice_id=invoice)
    if not chance(rng, 0.86):
        return
    parts = [value // 3, value - value // 3] if chance(rng, 0.15) else [value]
    paid_at = invoiced_at
    for part in parts:
        paid_at = later(rng, paid_at, 150)
        yield _lead_event(lead, "payment_received", paid_at, value_cents=part, invoice_id=invoice)
    yield from _review(rng, lead, paid_at)


def _review(rng: Random, lead: Lead, paid_at: datetime) -> Iterator[Event]:
    if not chance(rng, 0.72):
        return
    asked_at = later(rng, paid_at, 24)
    yield _lead_event(lead, "review_requested", asked_at)
    if chance(rng, 0.55):
        yield _lead_event(
            lead,
            "review_received",
            later(rng, asked_at, 60),
            rating=weighted(rng, RATINGS),
            platform=rng.choice(REVIEW_PLATFORMS),
        )
