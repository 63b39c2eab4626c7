"""Leads, messages and subscriptions to measure the marts of clients and the platform with."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from tests.bench.events import FIRST_INSTANT
from tests.bench.increments import DAYS, Stream, event_at

CLIENTS = 200
# How a lead's events are spread over the kinds: two thirds of them are messages.
KINDS: dict[str, int] = {
    "message": 66, "lead_created": 6, "lead_stage_changed": 6, "first_response": 4,
    "qualified": 3, "appointment_booked": 2, "quote_sent": 2, "job_won": 1, "invoice_sent": 1,
    "payment_received": 1, "review_received": 1, "escalation_opened": 2, "api_cost": 5,
}  # fmt: skip
STAGES = ("new", "qualifying", "nurturing", "hot", "booked", "lost")


def _write_lead_events(path: Path, count: int, day: int | None, seed: int) -> None:
    """Write what happens to leads; a lead's events lie within four days, one client in fifty."""
    rng = Random(f"leads:{seed}")
    kinds = rng.choices(list(KINDS), weights=list(KINDS.values()), k=count)
    with path.open("w") as file:
        for kind in kinds:
            on = rng.randrange(DAYS) if day is None else day
            at = FIRST_INSTANT + timedelta(days=on, seconds=rng.randrange(86_400))
            lead = f"lead-{on // 4}-{rng.randrange(60)}"
            actor = {"client_id": f"client-{rng.randrange(CLIENTS)}", "lead_id": lead}
            event = {
                "event_id": str(UUID(int=rng.getrandbits(128), version=4)),
                "event": kind,
                "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}",
                "actor": actor,
                "properties": _properties(kind, rng),
            }
            file.write(json.dumps(event, separators=(",", ":")) + "\n")


def _properties(kind: str, rng: Random) -> dict[str, Any]:
    match kind:
        case "message":
            inbound = rng.random() < 0.5
            return {
                "direction": "inbound" if inbound else "outbound",
                "sender_type": "lead" if inbound else rng.choice(("ai", "human")),
            }
        case "lead_created":
            return {"source": rng.choice(("missed_call", "web_form", "referral", "fair"))}
        case "lead_stage_changed":
            return {"stage": rng.choice(STAGES)}
        case "job_won" | "invoice_sent" | "payment_received" | "quote_sent":
            return {"value_cents": rng.randrange(10_000, 900_000)}
        case "review_received":
            return {"rating": rng.randrange(1, 6)}
        case "api_cost":
            return {"cost_cents": rng.randrange(1, 50), "service": "sms"}
    return {}


_LEAD = {"client_id": "client-1", "lead_id": "lead-late"}
LEAD_EVENTS = Stream(
    "lead events",
    _write_lead_events,
    early=[
        event_at(0, "lead_created", _LEAD, {"source": "fair"}),
        event_at(1, "message", _LEAD, {"direction": "inbound", "sender_type": "lead"}),
    ],
    late={
        "an answer": event_at(3, "message", _LEAD, {"direction": "outbound", "sender_type": "ai"}),
        "a stage change": event_at(5, "lead_stage_changed", _LEAD, {"stage": "hot"}),
        "an earlier creation": event_at(-60, "lead_created", _LEAD, {"source": "referral"}),
        "an invoice": event_at(9, "invoice_sent", _LEAD, {"value_cents": 40_000}),
    },
)
