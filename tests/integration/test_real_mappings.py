"""The shipped mappings on the data that they were written for, against counts in plain Python."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import uuid
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from ingestion.sources.mapping import find_mapping, mapped_blocks

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
NAMESPACE = uuid.UUID("6f3c9d1e-2b7a-5c48-9e0d-4a1b8c7d6e5f")
RFC_3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the recorded data sets are not in {DATA}"),
]


def raw_lines(source: Path) -> list[str]:
    text = source.read_bytes()
    return (gzip.decompress(text) if source.suffix == ".gz" else text).decode().splitlines()


def mapped_lines(name: str, source: Path) -> list[bytes]:
    return b"".join(mapped_blocks(find_mapping(name), source)).splitlines()


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def derived_id(line: bytes) -> uuid.UUID:
    event = json.loads(line)
    event.get("context", {}).pop("ip", None)
    return uuid.uuid5(NAMESPACE, canonical(event))


def aider_ids(source: Path) -> dict[str, uuid.UUID]:
    """The derived id of every line of ``source``, by the line as a canonical JSON object."""
    lines, raw = mapped_lines("aider", source), raw_lines(source)
    assert len(lines) == len(raw)
    pairs = {
        (canonical(json.loads(was)), derived_id(line)) for was, line in zip(raw, lines, strict=True)
    }
    ids = dict(pairs)
    assert len(pairs) == len(ids) == len(set(ids.values())), "one id per line and line per id"
    return ids


@pytest.fixture(scope="module")
def aider() -> dict[uuid.UUID, dict]:
    lines = mapped_lines("aider", DATA / "aider" / "events.jsonl.gz")
    assert len(lines) == 35_200
    return {derived_id(line): json.loads(line, parse_float=Decimal) for line in lines}


def test_aider_has_the_events_that_its_readme_promises(aider: dict[uuid.UUID, dict]) -> None:
    assert len(aider) == 31_621
    assert Counter(event["event"] for event in aider.values()) == {
        "chat": 5_210,
        "session": 7_375,
        "builder_action": 19_036,
    }
    errors = [e for e in aider.values() if e["properties"].get("error_occurred")]
    assert len(errors) == 52
    assert {e["event"] for e in errors} == {"chat"}


def test_aider_has_the_tokens_and_costs_of_the_raw_lines(aider: dict[uuid.UUID, dict]) -> None:
    raw = [
        json.loads(line, parse_float=Decimal)
        for line in set(raw_lines(DATA / "aider" / "events.jsonl.gz"))
    ]
    sends = [line["properties"] for line in raw if line["event"] == "message_send"]
    chats = [e["properties"] for e in aider.values() if e["event"] == "chat"]

    def total(rows: list[dict], member: str) -> int | Decimal:
        return sum(row.get(member) or 0 for row in rows)

    assert total(chats, "tokens_prompt") == total(sends, "prompt_tokens") == 67_119_556
    assert total(chats, "tokens_completion") == total(sends, "completion_tokens") == 2_626_290
    assert total(chats, "cost_prompt") == total(sends, "cost")
    assert round(total(chats, "cost_prompt"), 6) == Decimal("172.790687")


def test_aider_carries_every_property_along_and_the_plan_accepts_its_own() -> None:
    source = DATA / "aider" / "events.jsonl.gz"
    for was, line in zip(raw_lines(source), mapped_lines("aider", source), strict=True):
        raw = json.loads(was, parse_float=Decimal)
        event = json.loads(line, parse_float=Decimal)
        assert raw["properties"].items() <= event["properties"].items()
        assert event["properties"]["action"] == raw["event"]
        assert event["actor"].get("user_id") == raw["user_id"]
        assert event["actor"].get("user_id") or event["actor"]["anonymous_id"]
        assert event["context"] == {"source": "api"}
        assert RFC_3339_UTC.fullmatch(event["timestamp"])
        for member in ("tokens_prompt", "tokens_completion", "cost_prompt"):
            assert event["properties"].get(member, 0) >= 0


@pytest.fixture(scope="module")
def whole() -> dict[str, uuid.UUID]:
    return aider_ids(DATA / "aider" / "events.jsonl.gz")


@pytest.mark.parametrize(
    "source", sorted((DATA / "aider").glob("snapshot_*.jsonl.gz")), ids=lambda path: path.name
)
def test_a_snapshot_of_aider_adds_only_the_lines_that_are_not_in_the_whole(
    source: Path, whole: dict[str, uuid.UUID]
) -> None:
    snapshot = aider_ids(source)
    added = set(snapshot.values()) - set(whole.values())
    assert added == {snapshot[line] for line in snapshot.keys() - whole.keys()}
    assert all(snapshot[line] == whole[line] for line in snapshot.keys() & whole.keys())


@pytest.mark.parametrize(("service", "requests"), [("code", 8_819), ("conv", 19_366)])
def test_every_azure_request_is_a_chat_of_its_own(service: str, requests: int) -> None:
    source = DATA / "azure_llm" / f"AzureLLMInferenceTrace_{service}.csv.gz"
    raw = list(csv.DictReader(raw_lines(source)))
    events = [json.loads(line) for line in mapped_lines("azure_llm", source)]
    assert len(raw) == len(events) == len({e["event_id"] for e in events}) == requests
    assert all(UUID.fullmatch(e["event_id"]) for e in events)
    assert {e["event"] for e in events} == {"chat"}
    assert all(e["actor"] == {"client_id": f"azure-{service}"} for e in events)
    assert [
        (
            e["timestamp"],
            e["properties"]["tokens_prompt"],
            e["properties"]["tokens_completion"],
        )
        for e in events
    ] == [
        (
            row["TIMESTAMP"].replace(" ", "T") + "Z",
            int(row["ContextTokens"]),
            int(row["GeneratedTokens"]),
        )
        for row in raw
    ]


def test_every_uptime_check_is_a_request_of_the_platform() -> None:
    source = DATA / "upptime" / "upptime_checks.csv"
    raw = list(csv.DictReader(io.StringIO(source.read_text())))
    events = [json.loads(line) for line in mapped_lines("upptime", source)]
    assert len(raw) == len(events) == len({e["event_id"] for e in events}) == 3_122
    for row, event in zip(raw, events, strict=True):
        assert UUID.fullmatch(event["event_id"])
        assert event["event"] == "api_request"
        assert event["actor"] == {"client_id": "_platform"}
        assert event["timestamp"] == row["checked_at"].replace("+00:00", "Z")
        assert event["properties"] == {
            "endpoint": row["endpoint"],
            "method": "GET",
            "status_code": int(row["status_code"]) or 599,
            "response_time_ms": int(row["latency_ms"]),
            "state": row["state"],
        }
        assert 100 <= event["properties"]["status_code"] <= 599
        assert event["properties"]["response_time_ms"] >= 0
