"""What the collector decides of a request, without a server."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from ingestion.collector.addresses import client_address
from ingestion.collector.answers import RefusedError
from ingestion.collector.bodies import content_type, decompress, encoding_of, read_events
from ingestion.collector.request_validation import RequestValidator, Sender
from ingestion.collector.room import Quotas, Room
from ingestion.collector.segments import (
    RecordKind,
    Waiting,
    accepted_record,
    read_rejected,
    read_suppressed,
    records,
    rejected_record,
    suppressed_record,
)
from ingestion.collector.traffic import Traffic
from ingestion.contract.line import Reason
from ingestion.contract.validator import Rejected, Sequence, Suppressed
from orchestration.operations.collecting import described, is_behind
from warehouse.key_kinds import KeyKind
from warehouse.keys import Key

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def key(kind: str, client: str | None = "acme") -> Key:
    return Key("0" * 12, KeyKind(kind), b"", client, frozenset(), None, 100, None)


def stamped(event: Any, kind: str = "server", **changes: Any) -> dict[str, Any]:
    """Return the one event as it is loaded."""
    sender = Sender(key(kind), "1.2.3.4", "agent", **changes)
    outcomes = RequestValidator(AT).events([json.dumps(event).encode()], sender)
    assert outcomes.errors == []
    ((what, payload),) = records(b"".join(outcomes.records))
    assert what is RecordKind.ACCEPTED
    return json.loads(payload)


def signup(**changes: Any) -> dict[str, Any]:
    return {"event": "signup", "timestamp": AT.isoformat()} | changes


def test_what_only_the_collector_knows_is_stamped() -> None:
    found = stamped(signup(event_id="6F3C9D1E-2B7A-5C48-9E0D-4A1B8C7D6E5F"))
    assert found == {
        "event": "signup",
        "timestamp": AT.isoformat(),
        "event_id": "6F3C9D1E-2B7A-5C48-9E0D-4A1B8C7D6E5F",
        "actor": {"client_id": "acme"},
        "context": {"ip": "1.2.3.4", "user_agent": "agent"},
    }


@pytest.mark.parametrize("absent", [None, ""])
def test_what_counts_as_absent_is_stamped_too(absent: str | None) -> None:
    found = stamped(
        signup(
            actor={"client_id": absent, "user_id": "u"},
            context={"ip": absent, "user_agent": absent, "page": {"path": "/"}},
        )
    )
    assert found["actor"] == {"client_id": "acme", "user_id": "u"}
    assert found["context"] == {"ip": "1.2.3.4", "user_agent": "agent", "page": {"path": "/"}}


def test_a_server_knows_its_visitors_and_a_page_does_not() -> None:
    said = {"ip": "9.9.9.9", "user_agent": "theirs", "consent": {"analytics": True}}
    assert stamped(signup(context=said))["context"] == said
    assert stamped(signup(context=said), "browser")["context"] == said | {
        "ip": "1.2.3.4",
        "source": "web",
    }


def test_no_timestamp_is_changed_but_that_of_the_legacy_shape() -> None:
    odd = "2026-02-28t23:59:59.1234567890+05:30"
    assert stamped(signup(timestamp=odd))["timestamp"] == odd
    legacy = {"type": "session", "unit_id": "u"}
    found = stamped(legacy, takes_legacy=True)
    assert datetime.fromisoformat(found["timestamp"]) == AT
    assert found["event_id"] != stamped(legacy, takes_legacy=True)["event_id"]


def test_the_id_of_an_event_without_one_does_not_depend_on_what_is_stamped() -> None:
    one = stamped(signup())
    sender = Sender(key("server"), None, None)
    other = RequestValidator(AT).events([json.dumps(signup()).encode()], sender)
    ((_, payload),) = records(b"".join(other.records))
    assert json.loads(payload)["event_id"] == one["event_id"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"1",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"event": "\\ud800"}',
        b"\xff",
        b"[" * 999,
    ],
)
def test_what_is_no_object_is_rejected_as_it_was_sent(line: bytes) -> None:
    outcomes = RequestValidator(AT).events([line], Sender(key("browser"), "1.2.3.4", "agent"))
    assert outcomes.rejected == 1
    ((_, payload),) = records(outcomes.records[0])
    kept, why = read_rejected(payload)
    assert kept == line
    assert why.reason in {
        Reason.INVALID_JSON, Reason.NOT_AN_OBJECT, Reason.INVALID_ENCODING, Reason.UNKNOWN_FIELD
    }  # fmt: skip


@pytest.mark.parametrize("actor", ["acme", 5, [], [{"client_id": "rival"}]])
def test_an_actor_that_is_no_object_is_rejected(actor: Any) -> None:
    line = json.dumps(signup(actor=actor)).encode()
    outcomes = RequestValidator(AT).events([line], Sender(key("server"), None, None))
    assert outcomes.errors[0]["reason"] == "invalid_field"


def test_a_time_is_validated_against_the_time_of_receipt() -> None:
    late = (AT + timedelta(hours=24)).isoformat()
    assert stamped(signup(timestamp=late))
    later = (AT + timedelta(hours=24, microseconds=1)).isoformat()
    outcomes = RequestValidator(AT).events(
        [json.dumps(signup(timestamp=later)).encode()], Sender(key("server"), None, None)
    )
    assert outcomes.errors[0]["reason"] == "timestamp_out_of_range"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("1.1.1.1", "", "1.1.1.1"),
        ("1.1.1.1", "2.2.2.2", "1.1.1.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "2.2.2.2", "2.2.2.2"),
        ("10.0.0.1", "3.3.3.3, 2.2.2.2", "2.2.2.2"),
        ("10.0.0.1", "3.3.3.3, 2.2.2.2,10.9.9.9", "2.2.2.2"),
        ("10.0.0.1", "10.2.2.2", "10.2.2.2"),
        ("10.0.0.1", "3.3.3.3, nonsense", "10.0.0.1"),
        ("::ffff:10.0.0.1", "2.2.2.2:4711", "2.2.2.2"),
        ("fd00::1", "[2001:DB8::1]:80", "2001:db8::1"),
        (None, "2.2.2.2", None),
    ],
)
def test_whose_address_it_is(peer: str | None, forwarded: str, expected: str | None) -> None:
    assert client_address(peer, forwarded, PROXIES) == expected
    if peer == "10.0.0.1":
        assert client_address(peer, forwarded, ()) == "10.0.0.1"


def test_types_and_encodings_are_read_as_http_writes_them() -> None:
    assert content_type('Application/JSON; charset="UTF-8"', ("application/json",))
    assert encoding_of(None) == encoding_of("identity") == "identity"
    assert encoding_of(" GZIP ") == "gzip"
    for wrong in (None, "", "application/json; charset=latin1", "application/jsonx"):
        with pytest.raises(RefusedError, match="Content-Type"):
            content_type(wrong, ("application/json",))


def test_events_of_a_body_are_kept_byte_for_byte() -> None:
    pretty = b'{\n  "event": "x",\r\n "y": 1.0 }'
    assert read_events(b"[" + pretty + b", 1 ]", "application/json").events == [pretty, b"1"]
    assert read_events(b" " + pretty + b"\n", "application/json").events == [pretty]
    wrapped = read_events(b'{"key": "k", "events": [' + pretty + b"]}", "application/json")
    assert (wrapped.key, wrapped.events) == ("k", [pretty])
    assert "key" not in repr(wrapped).partition("events")[0]


def test_a_body_may_have_its_largest_size_and_no_byte_more() -> None:
    for size, fits in ((1 << 20, True), ((1 << 20) + 1, False)):
        compressed = zlib.compress(b"x" * size, wbits=31)
        if fits:
            assert len(decompress(compressed, "gzip")) == size
        else:
            with pytest.raises(RefusedError) as refused:
                decompress(compressed, "gzip")
            assert refused.value.status == 413


def test_records_are_read_up_to_a_torn_end() -> None:
    sequence = Sequence("shop/1", 7, AT.date())
    rejected = Rejected(Reason.INVALID_FIELD, "détail \udcff", sequence)
    suppressed = Suppressed("page_view", AT.date(), sequence)
    content = (
        accepted_record(b'{"a": "\n\0"}')
        + rejected_record(b"\0\n\xff", rejected)
        + suppressed_record(suppressed)
    )
    whole = list(records(content))
    assert whole[0] == (RecordKind.ACCEPTED, b'{"a": "\n\0"}')
    line, why = read_rejected(whole[1][1])
    assert (line, why.reason, why.sequence) == (b"\0\n\xff", rejected.reason, sequence)
    assert read_suppressed(whole[2][1]) == suppressed
    for end in range(len(content)):
        assert list(records(content[:end])) == whole[: len(list(records(content[:end])))]
        assert len(list(records(content[:end]))) < 3
    flipped = content[:15] + bytes([content[15] ^ 1]) + content[16:]
    assert list(records(flipped)) == []


def test_room_and_quotas_are_shared_by_processes(tmp_path: Path) -> None:
    one, other = Room(tmp_path, 100), Room(tmp_path, 100)
    with one.counted() as used:
        used[0] += 60
    assert other.used() == 60
    # A killed process may have left any number: what is there is counted.
    other.recount()
    assert one.used() == 0
    first, second = Quotas(tmp_path), Quotas(tmp_path)
    minute = datetime.now(UTC).minute
    taken = [quotas.take("aabbccddeeff", 1, 10) for _ in range(8) for quotas in (first, second)]
    if datetime.now(UTC).minute == minute:
        assert taken.count(0) == 10
    assert first.take("ffeeddccbbaa", 10, 10) == 0
    assert 0 < first.take("ffeeddccbbaa", 11, 10) <= 60


def test_traffic_is_reported_once_with_percentiles() -> None:
    traffic = Traffic()
    for milliseconds in range(1, 101):
        traffic.count(503 if milliseconds == 1 else 202, milliseconds / 1_000)
    metrics = traffic.report(Waiting(10, 1, 2.5))
    assert metrics["collector_requests"] == 100
    assert metrics["collector_errors"] == 1
    assert 95 <= metrics["collector_p95_ms"] <= 95 * 1.1
    assert (metrics["collector_lag_seconds"], metrics["collector_waiting_bytes"]) == (2.5, 10)
    assert traffic.report(Waiting()) == {}


def test_the_collector_is_behind_when_an_event_waits_for_minutes() -> None:
    assert not is_behind(Waiting())
    assert not is_behind(Waiting(1, 1, 299))
    assert is_behind(Waiting(1, 1, 301))
    assert "1,234 bytes" in described(Waiting(1_234, 1, 3_600))
    assert "1:00:00" in described(Waiting(1_234, 1, 3_600))
