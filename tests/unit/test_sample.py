from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from ingestion.sample.generate import SampleFiles, write_sample
from ingestion.sample.timeline import SAMPLE_AS_OF, SAMPLE_DAYS

PLAN = frozenset(
    (
        "session",
        "page_view",
        "pdf_download",
        "contact_submitted",
        "signup",
        "builder_action",
        "chat",
        "chat_feedback",
        "lead_created",
        "lead_stage_changed",
        "message",
        "escalation_opened",
        "first_response",
        "qualified",
        "quote_requested",
        "quote_accepted",
        "quote_sent",
        "appointment_booked",
        "job_won",
        "job_lost",
        "invoice_sent",
        "payment_received",
        "review_requested",
        "review_received",
        "subscription_started",
        "subscription_changed",
        "subscription_cancelled",
        "api_cost",
        "revenue",
        "credit_used",
        "api_request",
        "system_metric",
        "analytics.dashboard_view",
        "analytics.filter_change",
        "analytics.export",
    )
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleFiles:
    return write_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def lines(sample: SampleFiles) -> list[bytes]:
    return [line for path in sample.events for line in _read(path).splitlines()]


@pytest.fixture(scope="module")
def readable(lines: list[bytes]) -> list[dict]:
    return [event for event in map(_event, lines) if event is not None]


def _read(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _event(line: bytes) -> dict | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _keys(path: Path, key: str) -> list[str]:
    return [json.loads(line)[key] for line in path.read_bytes().splitlines()]


def test_the_same_seed_gives_the_same_bytes(sample: SampleFiles, tmp_path: Path) -> None:
    again = write_sample(tmp_path)
    paths = (*sample.events, *sample.entities.values())
    others = (*again.events, *again.entities.values())
    assert [path.name for path in paths] == [path.name for path in others]
    for path, other in zip(paths, others, strict=True):
        assert path.read_bytes() == other.read_bytes(), path.name


def test_every_event_of_the_plan_occurs(readable: list[dict]) -> None:
    assert {event.get("event") for event in readable} >= PLAN


def test_there_are_a_hundred_thousand_events_and_more(lines: list[bytes]) -> None:
    assert 140_000 <= len(lines) <= 165_000


def test_there_are_40_clients_and_2000_users(sample: SampleFiles) -> None:
    assert set(sample.entities) == {"clients", "units", "users", "documents"}
    assert len(set(_keys(sample.entities["clients"], "client_id"))) == 40
    users = _keys(sample.entities["users"], "user_id")
    assert len(users) == len(set(users)) == 2_000


def test_some_clients_and_users_are_known_from_events_alone(
    sample: SampleFiles, readable: list[dict]
) -> None:
    actors = [event["actor"] for event in readable if "actor" in event]
    clients = {actor.get("client_id") for actor in actors} - {"_platform", None}
    users = {actor.get("user_id") for actor in actors if _is_clean_text(actor.get("user_id"))}
    assert clients - set(_keys(sample.entities["clients"], "client_id"))
    assert users - set(_keys(sample.entities["users"], "user_id"))


def _is_clean_text(value: object) -> bool:
    return isinstance(value, str) and "\x00" not in value


def test_files_are_both_plain_and_compressed_and_whole(sample: SampleFiles) -> None:
    assert {path.suffix for path in sample.events} == {".gz", ".ndjson"}
    written = {path.name for path in sample.events} | {
        path.name for path in sample.entities.values()
    }
    assert {path.name for path in sample.events[0].parent.iterdir()} == written


def test_exact_duplicates_come_in_the_same_file_and_in_later_ones(sample: SampleFiles) -> None:
    first_file: dict[bytes, Path] = {}
    repeats: Counter[bool] = Counter()
    for path in sample.events:
        for line in _read(path).splitlines():
            if line in first_file and line != b'"heartbeat"':
                repeats[first_file[line] == path] += 1
            first_file.setdefault(line, path)
    assert repeats[True] > 100
    assert repeats[False] > 100


def test_a_handful_of_events_lies_after_the_instant_of_the_demo(readable: list[dict]) -> None:
    as_of = SAMPLE_AS_OF.strftime("%Y-%m-%d")
    later = [event for event in readable if as_of <= str(event.get("timestamp", "")) < "2026-06"]
    assert 5 <= len(later) <= 60
    assert SAMPLE_DAYS == 135
