"""Events of portal sessions and AI chats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from ingestion.sample.events import Event, Json, new_uuid, present
from ingestion.sample.leads import RATINGS
from ingestion.sample.timeline import (
    SAMPLE_AS_OF,
    SAMPLE_START,
    chance,
    days,
    later,
    moment,
    poisson,
    seconds,
    weighted,
)
from ingestion.sample.world import Client, World, client_moments, user_moments

SESSIONS_PER_UNIT_DAY = 0.07
SESSIONS_PER_USER_DAY = 0.05
DORMANT_UNITS = 0.45


def engagement(world: World, rng: Random) -> Iterator[Event]:
    """Yield sessions and downloads of residents, users and anonymous visitors."""
    clients = {client.client_id: client for client in world.clients}
    for unit in world.units:
        if not chance(rng, DORMANT_UNITS):
            yield from _resident(rng, world, unit, clients[unit["client_id"]])
    for user, at in user_moments(world.users, rng, SESSIONS_PER_USER_DAY):
        yield from _portal_visit(rng, world, user.actor, at)
    for client, at in client_moments(world.clients, rng, 0.15):
        actor = {"client_id": client.client_id, "anonymous_id": f"anon-{new_uuid(rng)}"}
        yield from _portal_visit(rng, world, actor, at)


def _resident(rng: Random, world: World, unit: Json, client: Client) -> Iterator[Event]:
    actor = {key: unit[key] for key in ("client_id", "unit_id", "development_id")}
    moves_out = SAMPLE_START + rng.uniform(0.3, 3) * (SAMPLE_AS_OF - SAMPLE_START)
    for day in days():
        busy = 0.0 if day > moves_out or client.level(day) == 0 else SESSIONS_PER_UNIT_DAY
        for _ in range(poisson(rng, busy)):
            at = moment(rng, day)
            if at >= client.created_at:
                yield from _portal_visit(rng, world, actor, at)


def _portal_visit(rng: Random, world: World, actor: Json, at: datetime) -> Iterator[Event]:
    context: Json = {
        "source": "web",
        "consent": {"analytics": True},
        "session_id": f"p-{new_uuid(rng)}",
        "producer": "portal",
    }
    yield Event(at, "session", dict(actor), {}, dict(context))
    if chance(rng, 0.18):
        document = rng.choice(world.documents)["document_id"] if chance(rng, 0.95) else None
        later = at + seconds(rng.uniform(20, 600))
        yield Event(
            later, "pdf_download", dict(actor), present(document_id=document), dict(context)
        )


CONVERSATIONS_PER_USER_DAY = 0.1
MODEL_CHANGE = datetime(2026, 3, 16, tzinfo=UTC)
INTENTS = {"simple_lookup": 0.45, "regulatory": 0.3, "comparative": 0.15, "complex": 0.1}
SECTIONS = tuple(f"§{n}.{m}" for n in range(1, 8) for m in range(1, 5))
CHAT_ERRORS = {"timeout": "no answer in 30 s", "rate_limited": "too many requests"}


@dataclass(frozen=True)
class Model:
    """A language model; prices are USD per million tokens."""

    name: str
    version: str
    provider: str
    prompt_price: float
    completion_price: float


OLD_MODELS = {
    Model("gpt-4o", "2024-11-20", "openai", 2.5, 10.0): 0.35,
    Model("gpt-4o-mini", "2024-07-18", "openai", 0.15, 0.6): 0.5,
    Model("mistral-large", "2411", "mistral", 2.0, 6.0): 0.15,
}
NEW_MODELS = {
    Model("gpt-4.1", "2025-04-14", "openai", 2.0, 8.0): 0.35,
    Model("gpt-4o-mini", "2024-07-18", "openai", 0.15, 0.6): 0.4,
    Model("gemini-2.0-flash", "001", "google", 0.1, 0.4): 0.25,
}


def chats(world: World, rng: Random) -> Iterator[Event]:
    """Yield conversations about documents, with late, changed and unmatched feedback."""
    numbers: Counter[str] = Counter()
    moments = user_moments(world.users, rng, CONVERSATIONS_PER_USER_DAY)
    for user, at in sorted(moments, key=lambda moment: moment[1]):
        numbers[user.client.client_id] += 1
        conversation = f"conv-{numbers[user.client.client_id]:05d}"
        actor = user.actor if chance(rng, 0.97) else {"client_id": user.client.client_id}
        yield from _conversation(rng, world, actor, conversation, at)


def _conversation(
    rng: Random, world: World, actor: Json, conversation: str, at: datetime
) -> Iterator[Event]:
    document = None
    if chance(rng, 0.85):
        # The square makes the first documents more popular.
        document = world.documents[int(len(world.documents) * rng.random() ** 2)]["document_id"]
    if chance(rng, 0.004):
        document = "doc-removed"
    context = present(
        source="runtime",
        producer=rng.choice(("chat-runtime-1", "chat-runtime-2")),
        session_id=f"c-{new_uuid(rng)}" if chance(rng, 0.8) else None,
    )
    turn = 1
    while True:
        message = f"{conversation}-m{turn}"
        chat = Event(
            at,
            "chat",
            dict(actor),
            _chat_properties(rng, at, conversation, message, document),
            dict(context),
        )
        yield chat
        if chance(rng, 0.005):
            again = Event(at + seconds(8), "chat", dict(actor), chat.properties, dict(context))
            yield again
        if chance(rng, 0.15):
            yield from _feedback(rng, chat, message)
        if chance(rng, 0.38):
            return
        at += seconds(rng.lognormvariate(4.4, 0.9))
        turn += 1


def _chat_properties(
    rng: Random, at: datetime, conversation: str, message: str, document: str | None
) -> Json:
    ids = present(
        conversation_id=conversation if chance(rng, 0.98) else None,
        message_id=message,
        document_id=document,
        query_intent=weighted(rng, INTENTS) if chance(rng, 0.9) else None,
    )
    if chance(rng, 0.02):
        return ids  # an old runtime without measurements
    models = OLD_MODELS if at < MODEL_CHANGE else NEW_MODELS
    properties = ids | _model_use(rng, weighted(rng, models))
    if document is not None:
        properties["sections_referenced"] = rng.choices(SECTIONS, k=rng.randrange(5))
    if chance(rng, 0.1):
        properties["ui_version"] = rng.choice(("3.1", "3.2"))  # not in the plan, so metadata
    return properties


def _model_use(rng: Random, model: Model) -> Json:
    failed, cached = chance(rng, 0.025), chance(rng, 0.22)
    prompt = rng.randrange(300, 4000)
    completion = 0 if failed else rng.randrange(40, 900)
    reused = rng.randrange(100, prompt) if cached else 0
    took = 30_000 if failed else round(rng.lognormvariate(5.5 if cached else 7.4, 0.5))
    error = rng.choice(tuple(CHAT_ERRORS)) if failed else None
    return {
        "model_name": model.name,
        "model_version": model.version,
        "model_provider": model.provider,
        "tokens_prompt": prompt,
        "tokens_completion": completion,
        "tokens_cached": reused,
        "cost_prompt": round(prompt * model.prompt_price / 1e6, 6),
        "cost_completion": round(completion * model.completion_price / 1e6, 6),
        "cost_cached": round(reused * model.prompt_price / 4e6, 6),
        "response_time_ms": took,
        "cache_hit": cached,
        "user_query_length": rng.randrange(12, 400),
        "ai_response_length": completion * 4,
        "error_occurred": failed,
        "error_code": error,
        "error_message": CHAT_ERRORS[error] if error else None,
        "intermediate_steps": rng.randrange(4),
    }


def _feedback(rng: Random, chat: Event, message: str) -> Iterator[Event]:
    """Yield a rating, at once or days later; sometimes changed, or for an unknown message."""
    if chance(rng, 0.02):
        message += "-lost"
    at = later(rng, chat.at, 30 if chance(rng, 0.25) else 0.05)
    yield _rating(rng, chat, message, at)
    if chance(rng, 0.08):
        yield _rating(rng, chat, message, later(rng, at, 12))


def _rating(rng: Random, chat: Event, message: str, at: datetime) -> Event:
    text = rng.choice(("Just what I needed", "Out of date", "Too long", ""))
    properties = present(
        message_id=message,
        rating=weighted(rng, RATINGS),
        text=text if chance(rng, 0.25) else None,
    )
    return Event(at, "chat_feedback", dict(chat.actor), properties, dict(chat.context))
