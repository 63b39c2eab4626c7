"""A mix of events over 120 days, with subscriptions and page views, to measure all marts with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from uuid import UUID

from tests.bench.ai_usage import CHATS
from tests.bench.clients import CLIENTS, LEAD_EVENTS
from tests.bench.increments import DAYS, FIRST_INSTANT, Json, Stream, event_at

PLANS = ("free", "starter", "pro", "enterprise")
CONSENT = {"analytics": True}


def _write_mix(path: Path, count: int, day: int | None, seed: int) -> None:
    """Write a third each of chats and of lead events, and of page views with subscriptions."""
    third = count // 3
    part = path.with_suffix(".part")
    with path.open("w") as file:
        for stream in (CHATS, LEAD_EVENTS):
            stream.write(part, third, day, seed)
            file.write(part.read_text())
        for event in _views_and_subscriptions(count - 2 * third, day, seed):
            file.write(json.dumps(event, separators=(",", ":")) + "\n")
    part.unlink()


def _views_and_subscriptions(count: int, day: int | None, seed: int) -> Iterator[Json]:
    rng = Random(f"mix:{seed}")
    for number in range(count):
        on = rng.randrange(DAYS) if day is None else day
        at = FIRST_INSTANT + timedelta(days=on, seconds=rng.randrange(86_400))
        event = {
            "event_id": str(UUID(int=rng.getrandbits(128), version=4)),
            "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        }
        client = {"client_id": f"client-{rng.randrange(CLIENTS)}"}
        if number % 20:
            visitor = {"anonymous_id": f"visitor-{rng.randrange(count // 8 + 1)}"}
            page = {"path": f"/{rng.randrange(50)}"}
            yield event | {
                "event": "page_view", "actor": client | visitor,
                "context": {"page": page, "consent": CONSENT},
            }  # fmt: skip
        else:
            yield event | {
                "event": rng.choice(("subscription_started", "subscription_changed")),
                "actor": client,
                "properties": {
                    "subscription_id": f"subscription-{rng.randrange(4)}",
                    "plan": rng.choice(PLANS),
                    "mrr_cents": rng.randrange(90_000),
                },
            }


_VISITOR = {"client_id": "client-1", "anonymous_id": "late-visitor"}
_VIEW = {"page": {"path": "/"}, "consent": CONSENT}
_SUBSCRIBER = {"client_id": "client-1"}
_SUBSCRIPTION = {"subscription_id": "late", "plan": "pro", "mrr_cents": 100}
MIX = Stream(
    "mixed events",
    _write_mix,
    early=[
        event_at(0, "page_view", _VISITOR, {}, context=_VIEW),
        event_at(50, "page_view", _VISITOR, {}, context=_VIEW),
        event_at(0, "subscription_started", _SUBSCRIBER, _SUBSCRIPTION),
    ],
    late={
        "a page view that joins two sessions": event_at(
            25, "page_view", _VISITOR, {}, context=_VIEW
        ),
        "a subscription change": event_at(
            9, "subscription_changed", _SUBSCRIBER, _SUBSCRIPTION | {"mrr_cents": 300}
        ),
    },
)
