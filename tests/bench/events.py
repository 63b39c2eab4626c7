"""Writes files of valid event lines: a mix like the sample's, about 390 bytes a line."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

Json = dict[str, Any]

FIRST_INSTANT = datetime(2026, 1, 1, tzinfo=UTC)
# What a busy site sends in a day: 200,000 events span 20 days, a million a hundred.
EVENTS_A_DAY = 10_000
CLIENTS = 200
USERS = 5_000
LEADS = 20_000
# Three page views, as in the sample.
LINES_A_VISIT = 14

BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/{}.3 Safari/605.1.15",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/{}.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
)
PATHS = ("/", "/pricing", "/about", "/contact", "/blog/spring-checklist", "/blog/ten-questions")


@dataclass(frozen=True, slots=True)
class Drawn:
    """What an event is about: a client, and the number of its line."""

    rng: Random
    client_id: str
    number: int

    def one_of(self, kind: str, how_many: int) -> str:
        """Draw an identifier."""
        return f"{kind}-{self.rng.randrange(how_many):05d}"


def write_events(path: Path, lines: int, after: int = 0) -> Path:
    """Write a file of valid lines, to follow ``after`` so many of earlier files; return it."""
    with path.open("wb") as file:
        file.writelines(line + b"\n" for line in event_lines(lines, after))
    return path


def event_lines(lines: int, after: int) -> Iterator[bytes]:
    """Yield lines without line end, in order of time, none of them a duplicate."""
    rng = Random(f"bench:{after}")
    names, weights = list(MIX), [share for share, _ in MIX.values()]
    step = timedelta(days=1) / EVENTS_A_DAY
    for number in range(after, after + lines):
        drawn = Drawn(rng, f"client-{rng.randrange(CLIENTS):03d}", number)
        (name,) = rng.choices(names, weights)
        _, rest = MIX[name]
        at = FIRST_INSTANT + number * step
        event = {
            "event_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "event": name,
            "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        } | rest(drawn)
        yield json.dumps(event, separators=(",", ":")).encode()


def _page_view(drawn: Drawn) -> Json:
    visit = drawn.number // LINES_A_VISIT
    client_id = f"client-{visit % CLIENTS:03d}"
    site = f"https://www.{client_id}.example"
    path = drawn.rng.choice(PATHS)
    return {
        "actor": {"client_id": client_id, "anonymous_id": f"anon-{uuid.UUID(int=visit)}"},
        "context": {
            "session_id": f"s-{uuid.UUID(int=visit)}",
            "ip": f"203.0.113.{visit % 254 + 1}",
            "user_agent": BROWSERS[visit % len(BROWSERS)].format(100 + visit % 40),
            "consent": {"analytics": True},
            "source": "web",
            "page": {"url": site + path, "path": path, "referrer": site + drawn.rng.choice(PATHS)},
        },
    }


def _chat(drawn: Drawn) -> Json:
    rng = drawn.rng
    conversation = drawn.one_of("conv", LEADS)
    return {
        "actor": _user(drawn),
        "context": _produced(drawn, "chat-runtime-1") | {"session_id": f"c-{_token(rng)}"},
        "properties": {
            "conversation_id": conversation,
            "message_id": f"{conversation}-m{drawn.number}",
            "document_id": drawn.one_of("doc", 60),
            "query_intent": rng.choice(("simple_lookup", "regulatory", "comparative", "complex")),
            "model_name": "gpt-4.1",
            "model_version": "2025-04-14",
            "model_provider": "openai",
            "tokens_prompt": rng.randrange(200, 4000),
            "tokens_completion": rng.randrange(50, 900),
            "tokens_cached": 0,
            "cost_prompt": round(rng.uniform(0.0005, 0.01), 6),
            "cost_completion": round(rng.uniform(0.0005, 0.01), 6),
            "response_time_ms": rng.randrange(300, 5000),
            "cache_hit": False,
            "user_query_length": rng.randrange(10, 400),
            "ai_response_length": rng.randrange(100, 3000),
        },
    }


def _api_request(drawn: Drawn) -> Json:
    rng = drawn.rng
    return {
        "actor": {"client_id": drawn.client_id},
        "context": _produced(drawn, "api-gateway"),
        "properties": {
            "endpoint": rng.choice(("/v1/chat", "/v1/exports", "/v1/leads")),
            "method": "POST",
            "response_time_ms": rng.randrange(20, 3000),
            "status_code": 200,
        },
    }


def _message(drawn: Drawn) -> Json:
    return {
        "actor": _lead(drawn),
        "context": _produced(drawn, "messaging-gateway"),
        "properties": {
            "direction": drawn.rng.choice(("inbound", "outbound")),
            "sender_type": "ai",
            "conversation_id": drawn.one_of("thread", LEADS),
        },
    }


def _system_metric(drawn: Drawn) -> Json:
    return {
        "actor": {"client_id": "_platform"},
        "context": _produced(drawn, "monitor-app-1"),
        "properties": {
            "metric_type": "cpu_usage",
            "metric_value": round(drawn.rng.uniform(1, 100), 1),
            "server_id": "app-1",
        },
    }


def _lead_stage_changed(drawn: Drawn) -> Json:
    return {
        "actor": _lead(drawn),
        "context": _produced(drawn, "crm-core"),
        "properties": {"stage": "qualifying"},
    }


def _api_cost(drawn: Drawn) -> Json:
    return {
        "actor": {"client_id": drawn.client_id},
        "context": {"source": "runtime"},
        "properties": {"cost_cents": drawn.rng.randrange(1, 90), "service": "llm"},
    }


def _session(drawn: Drawn) -> Json:
    return {
        "actor": {"client_id": drawn.client_id, "unit_id": drawn.one_of("unit", 900)},
        "context": _produced(drawn, "portal")
        | {
            "source": "web",
            "consent": {"analytics": True},
            "session_id": f"p-{_token(drawn.rng)}",
        },
    }


def _credit_used(drawn: Drawn) -> Json:
    return {
        "actor": _user(drawn),
        "context": {"source": "api"},
        "properties": {"feature_name": "image_render", "credits_used": 16, "cost_usd": 0.2},
    }


# By name: the share, and the rest of the event. The sample's mix without its rare events, and with
# a few page views less: 390 bytes on average.
MIX: dict[str, tuple[int, Callable[[Drawn], Json]]] = {
    "page_view": (21, _page_view),
    "api_request": (14, _api_request),
    "message": (14, _message),
    "system_metric": (10, _system_metric),
    "api_cost": (9, _api_cost),
    "lead_stage_changed": (9, _lead_stage_changed),
    "chat": (8, _chat),
    "session": (8, _session),
    "credit_used": (7, _credit_used),
}


def _user(drawn: Drawn) -> Json:
    return {"client_id": drawn.client_id, "user_id": drawn.one_of("user", USERS)}


def _lead(drawn: Drawn) -> Json:
    return {"client_id": drawn.client_id, "lead_id": drawn.one_of("lead", LEADS)}


def _produced(drawn: Drawn, producer: str) -> Json:
    return {"source": "runtime", "producer": producer, "sequence": drawn.number}


def _token(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
