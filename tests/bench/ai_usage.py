"""Chats to measure the AI-usage marts with."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from random import Random
from uuid import UUID

from tests.bench.events import FIRST_INSTANT
from tests.bench.increments import DAYS, Stream, event_at

MODELS = ("gpt-4.1", "gpt-4o-mini", "gemini-2.0-flash")


def _write_chats(path: Path, count: int, day: int | None, seed: int) -> None:
    """Write chats, one in ten of them rated, spread over all days or on one of them."""
    rng = Random(f"chats:{seed}")
    with path.open("w") as file:
        for number in range(count):
            # A quarter of an hour before midnight is left for the feedback.
            second = rng.randrange(85_000)
            on = rng.randrange(DAYS) if day is None else day
            at = FIRST_INSTANT + timedelta(days=on, seconds=second)
            actor = (
                f'"actor":{{"client_id":"client-{rng.randrange(200)}",'
                f'"user_id":"user-{rng.randrange(20_000)}"}}'
            )
            message = f"{seed}-{number}"
            file.write(
                f'{{"event_id":"{UUID(int=rng.getrandbits(128), version=4)}","event":"chat",'
                f'"timestamp":"{at:%Y-%m-%dT%H:%M:%SZ}",{actor},"properties":{{'
                f'"conversation_id":"{message[:-1]}","message_id":"{message}",'
                f'"document_id":"doc-{rng.randrange(500)}","model_name":"{rng.choice(MODELS)}",'
                f'"tokens_prompt":{rng.randrange(4000)},"tokens_completion":{rng.randrange(900)},'
                f'"cost_prompt":0.00{rng.randrange(10, 99)},"cache_hit":false,'
                f'"response_time_ms":{rng.randrange(200, 9000)},'
                f'"sections_referenced":["§{rng.randrange(40)}","§{rng.randrange(40)}"]}}}}\n'
            )
            if number % 10 == 0:
                rated_at = at + timedelta(minutes=15)
                file.write(
                    f'{{"event_id":"{UUID(int=rng.getrandbits(128), version=4)}",'
                    f'"event":"chat_feedback","timestamp":"{rated_at:%Y-%m-%dT%H:%M:%SZ}",{actor},'
                    f'"properties":{{"message_id":"{message}","rating":{rng.randrange(1, 6)}}}}}\n'
                )


_USER = {"client_id": "client-1", "user_id": "user-1"}
CHATS = Stream(
    "chats",
    _write_chats,
    early=[event_at(0, "chat", _USER, {"message_id": "early", "conversation_id": "early"})],
    late={
        "a chat": event_at(7, "chat", _USER, {"message_id": "late", "conversation_id": "early"}),
        "feedback": event_at(9, "chat_feedback", _USER, {"message_id": "early", "rating": 2}),
    },
)
