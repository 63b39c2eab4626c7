"""The AI-usage marts: a full rebuild, and increments on little and on much history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from statistics import median
from uuid import UUID

from orchestration.show import step
from tests.bench.events import FIRST_INSTANT
from tests.bench.figures import Figure, at_most, for_information
from tests.bench.place import Place, run

DAYS = 120
NEW_EVENTS = 1_000
LATE_DAYS = 90
BATCHES = 3
MODELS = ("gpt-4.1", "gpt-4o-mini", "gemini-2.0-flash")


@dataclass(frozen=True, slots=True)
class Times:
    """Wall times of `warehouse build` in seconds."""

    first: float
    of_another_kind: float
    increment: float
    late: float


def ai_usage(place: Place, rebuilt: int, little: int, much: int) -> Iterator[Figure]:
    """Rebuild all marts on one history; compare increments on two others."""
    seconds = _full_refresh(place, rebuilt)
    yield for_information(f"full rebuild of {rebuilt:,} chats, s", seconds, "{:.0f}")
    short, long = _times(place, little), _times(place, much)
    yield for_information(f"first build of {much:,} chats, s", long.first, "{:.0f}")
    yield for_information(
        "build after one event that no mart reads (dbt's own time), s", long.of_another_kind,
        "{:.1f}",
    )  # fmt: skip
    yield for_information(
        f"build of {NEW_EVENTS:,} new chats on {little:,}, s", short.increment, "{:.1f}"
    )
    yield at_most(
        f"{NEW_EVENTS:,} new chats on {much:,} / on {little:,}",
        long.increment / short.increment,
        1.3,
    )
    yield at_most(
        f"one chat {LATE_DAYS} days late / {NEW_EVENTS:,} new ones, on {much:,}",
        long.late / long.increment,
        1.5,
    )


def _full_refresh(place: Place, history: int) -> float:
    with place.fresh_warehouse():
        _load(place, history, f"rebuilding {history:,} chats")
        run("build")
        seconds, _ = run("build", "--full-refresh")
    return seconds


def _times(place: Place, history: int) -> Times:
    with place.fresh_warehouse() as connection:
        _load(place, history, f"{history:,} chats of history")
        first, _ = run("build")
        # As the server would by itself in a while, and not in the middle of what is measured.
        connection.execute("vacuum analyze")
        increments = []
        for batch in range(BATCHES):
            _load(place, NEW_EVENTS, f"new chats on {history:,}", day=DAYS, seed=batch)
            increments.append(run("build")[0])
        _load(place, 1, "a late chat", day=DAYS - LATE_DAYS, seed=BATCHES)
        late, _ = run("build")
        other = place.files / "signup.ndjson"
        other.write_text(
            '{"event":"signup","timestamp":"2026-01-01T00:00:00Z","actor":{"client_id":"c"}}\n'
        )
        run("load", other)
        of_another_kind, _ = run("build")
    return Times(first, of_another_kind, median(increments), late)


def _load(place: Place, count: int, what: str, day: int | None = None, seed: int = -1) -> None:
    step(f"Loading {what}")
    file = place.files / "chats.ndjson"
    _write_chats(file, count, day, seed)
    run("load", file)
    file.unlink()


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
