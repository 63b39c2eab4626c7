"""One producer with very many rows of its own: does it cost more than as many producers with few?

Each crowd arrives in a warehouse that holds ordinary data, is built as an increment, and is held
against as many events of the same kinds that are spread over many producers. Autovacuum is off:
what builds need to know of their tables they have to find out themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from orchestration.cli.output import step
from tests.bench.ai_usage import CHATS
from tests.bench.clients import LEAD_EVENTS, STAGES
from tests.bench.events import FIRST_INSTANT, write_events
from tests.bench.figures import Figure, at_most, for_information
from tests.bench.increments import AS_OF, DAYS
from tests.bench.place import Place, run, run_saying

Json = dict[str, Any]
# A step that takes less than this is not looked at: its ratio is noise.
LEAST_SECONDS = 2.0
LARGEST_RATIO = 3.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """Things of one producer; ``write`` writes so many, spread over so many producers."""

    of: str
    whose: str
    size: int
    # Among how many they are spread for comparison.
    many: int
    write: Callable[[Random, int, int], Iterable[Json]]


def crowds(place: Place, history: int, share: float) -> Iterator[Figure]:
    """Build each crowd, of one producer and of many; ``share`` makes all of them smaller."""
    place.server.set("autovacuum", "off")
    for crowd in CROWDS:
        yield from _figures(place, crowd, history, share)
    place.server.set("autovacuum", "on")


def _figures(place: Place, crowd: Crowd, history: int, share: float) -> Iterator[Figure]:
    size = int(crowd.size * share)
    alone, spread = (
        _seconds_by_model(place, crowd, size, producers, history) for producers in (1, crowd.many)
    )
    what = f"{size:,} {crowd.of} of one {crowd.whose}"
    total, total_spread = sum(alone.values()), sum(spread.values())
    yield for_information(f"increment of {what}, s in models", total, "{:.1f}")
    yield at_most(f"{what} / of {crowd.many:,}", total / total_spread, LARGEST_RATIO)
    slow = {model: seconds for model, seconds in alone.items() if seconds >= LEAST_SECONDS}
    worst = max(slow, key=lambda model: slow[model] / spread[model], default=None)
    if worst is not None:
        yield for_information(
            f"{what}, {worst}: {slow[worst]:.1f} s, ratio", slow[worst] / spread[worst]
        )


def _seconds_by_model(
    place: Place, crowd: Crowd, size: int, producers: int, history: int
) -> dict[str, float]:
    with place.fresh_warehouse():
        step(f"Building {history:,} ordinary events")
        file = place.files / "crowd.ndjson"
        for write in (
            lambda: write_events(file, history),
            lambda: LEAD_EVENTS.write(file, history, None, 0),
            lambda: CHATS.write(file, history, None, 0),
        ):
            write()
            run("load", file)
        run("build", "--as-of", (AS_OF - timedelta(hours=1)).isoformat())
        step(f"Building {size:,} {crowd.of} of {producers:,} {crowd.whose}(s)")
        write_crowd(file, crowd.write(Random("crowd"), size, producers))
        run("load", file)
        file.unlink()
        said = run_saying("build", "--as-of", AS_OF.isoformat())
    return {
        name: float(seconds) for name, seconds in re.findall(r"^(\w+): ([\d.]+) s$", said, re.M)
    }


def write_crowd(path: Path, events: Iterable[Json], seed: int = 0) -> None:
    """Write the events as lines, each with an id of its own."""
    rng = Random(f"identities:{seed}")
    with path.open("w") as file:
        for event in events:
            identity = {"event_id": str(UUID(int=rng.getrandbits(128), version=4))}
            file.write(json.dumps(identity | event, separators=(",", ":")) + "\n")


def _event(
    rng: Random, name: str, actor: Json, properties: Json | None = None, **others: Any
) -> Json:
    at = FIRST_INSTANT + timedelta(seconds=rng.randrange(DAYS * 86_400))
    return {
        "event": name, "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}", "actor": actor,
        "properties": properties or {}, **others,
    }  # fmt: skip


def _leads(rng: Random, size: int, producers: int) -> Iterator[Json]:
    for number in range(size):
        actor = {"client_id": f"crowd-{number % producers}", "lead_id": f"lead-{number}"}
        yield _event(rng, "lead_created", actor, {"source": rng.choice(("web_form", "fair"))})
        for _ in range(2):
            yield _event(rng, "lead_stage_changed", actor, {"stage": rng.choice(STAGES)})
        for inbound in (True, False, True):
            talk = {
                "direction": "inbound" if inbound else "outbound",
                "sender_type": "lead" if inbound else "ai",
            }
            yield _event(rng, "message", actor, talk)
        yield _event(rng, rng.choice(("qualified", "appointment_booked")), actor)
        yield _event(rng, "job_won", actor, {"value_cents": rng.randrange(900_000)})


def _messages(rng: Random, size: int, producers: int) -> Iterator[Json]:
    """Talk without end, of which half is never answered."""
    for number in range(size):
        lead = number % producers
        inbound = rng.random() < 0.5
        talk = {
            "direction": "inbound" if inbound else "outbound",
            "sender_type": "lead" if inbound else "human",
        }
        yield _event(
            rng, "message", {"client_id": f"client-{lead % 200}", "lead_id": f"crowd-{lead}"}, talk
        )


def _chats(rng: Random, size: int, producers: int) -> Iterator[Json]:
    for number in range(size):
        user = number % producers
        actor = {"client_id": f"client-{user % 200}", "user_id": f"crowd-{user}"}
        chat = {
            "message_id": f"crowd-{number}", "conversation_id": f"crowd-{number // 8}",
            "document_id": f"doc-{rng.randrange(500)}", "tokens_prompt": rng.randrange(4_000),
            "response_time_ms": rng.randrange(200, 9_000),
        }  # fmt: skip
        yield _event(rng, "chat", actor, chat)
        if number % 10 == 0:
            rating = {"message_id": f"crowd-{number}", "rating": rng.randrange(1, 6)}
            yield _event(rng, "chat_feedback", actor, rating)


def _page_views(rng: Random, size: int, producers: int) -> Iterator[Json]:
    for number in range(size):
        visitor = number % producers
        actor = {"client_id": f"client-{visitor % 200}", "anonymous_id": f"crowd-{visitor}"}
        context = {"page": {"path": f"/{rng.randrange(50)}"}, "consent": {"analytics": True}}
        yield _event(rng, "page_view", actor, context=context)
        if number % 50 == 0:
            yield _event(rng, "contact_submitted", actor, context=context)


def _subscriptions(rng: Random, size: int, producers: int) -> Iterator[Json]:
    """Each on a plan of its own."""
    for number in range(size):
        actor = {"client_id": f"crowd-{number % producers}"}
        subscription = {"subscription_id": f"crowd-{number}", "plan": f"plan-{number}"}
        price = {"mrr_cents": rng.randrange(10_000)}
        yield _event(rng, "subscription_started", actor, subscription | price)


CROWDS = (
    Crowd("leads", "client", 20_000, 200, _leads),
    Crowd("messages", "lead", 50_000, 5_000, _messages),
    Crowd("chats", "user", 100_000, 20_000, _chats),
    Crowd("page views", "visitor", 50_000, 5_000, _page_views),
    Crowd("subscriptions", "client", 20_000, 200, _subscriptions),
)
