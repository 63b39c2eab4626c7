"""Metrics of the machine or its container, and how own events are numbered and kept."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from ingestion.collector import own_events
from ingestion.collector.lander import write_state
from ingestion.collector.own_events import OwnEvents, OwnSegments
from ingestion.collector.segments import CLOSED, OWN_EVENTS, RecordKind, records, segments
from ingestion.collector.spool import SpoolError
from ingestion.sources import machine
from ingestion.sources.machine import Machine, cpu_limit, groups_of, memory_limit
from serving.calls import Calls

GIB = 1 << 30
ENDLESS = float("inf")


def group(folder: Path, **files: str) -> Path:
    """Make a control group with these files; `__` stands for the dot in their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    """The file that says which group the process is in: as in a container, the outermost."""
    path = tmp_path / "membership"
    path.write_text("0::/\n")
    return path


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with 16 GiB, half of it used, and 8 processors, busy for 12.5 %."""

    class Memory:
        total, percent = 16 * GIB, 50.0

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 8)
    monkeypatch.setattr(psutil, "cpu_percent", lambda: 12.5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test moves."""
    now = [1_000.0]
    monkeypatch.setattr(machine.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.usefixtures("host")
def test_without_limits_the_host_counts(tmp_path: Path, membership: Path) -> None:
    root = group(tmp_path / "cgroup", memory__max="max\n", cpu__max="max 100000\n")
    found = Machine(tmp_path, root, membership).read()
    assert (found["memory_usage"], found["cpu_usage"]) == (50, 12.5)
    assert found["disk_free_bytes"] > 0
    assert found["load_average"] >= 0
    # Neither a machine without control groups of version 2 nor one without any has limits.
    membership.write_text("4:memory:/service\n")
    assert Machine(tmp_path, root, membership).read()["memory_usage"] == 50
    assert Machine(tmp_path, root, tmp_path / "absent").read()["cpu_usage"] == 12.5


@pytest.mark.usefixtures("host")
def test_in_a_container_its_limits_count(
    tmp_path: Path, membership: Path, clock: list[float]
) -> None:
    root = group(
        tmp_path / "cgroup",
        memory__max=f"{2 * GIB}\n",
        memory__current=f"{GIB + GIB // 2}\n",
        memory__stat=f"anon 1\ninactive_file {GIB // 2}\n",
        cpu__max="150000 100000\n",
        cpu__stat="usage_usec 1000000\nuser_usec 1\n",
    )
    reader = Machine(tmp_path, root, membership)
    clock[0] += 60
    # 45 of the 90 seconds that 1.5 processors have in a minute.
    group(root, cpu__stat="usage_usec 46000000\nuser_usec 1\n")
    found = reader.read()
    # Without half a GiB of cached files, which can be freed.
    assert (found["memory_usage"], found["cpu_usage"]) == (50, 50)
    clock[0] += 60
    group(root, cpu__stat="usage_usec 1046000000\n", memory__current=f"{GIB // 4}\n")
    found = reader.read()
    assert (found["memory_usage"], found["cpu_usage"]) == (0, 100)


def test_the_tightest_limit_of_the_groups_around_a_process_counts(tmp_path: Path) -> None:
    inner = group(tmp_path / "a.slice" / "b.service", memory__max="max", cpu__max="400000 100000")
    outer = group(tmp_path / "a.slice", memory__max=f"{GIB}", cpu__max="50000 100000")
    groups = groups_of("1:name=systemd:/x\n0::/a.slice/b.service\n", tmp_path)
    assert groups == [inner, outer, tmp_path]
    memory, processors = memory_limit(groups, ENDLESS), cpu_limit(groups, ENDLESS)
    assert memory
    assert processors
    assert (memory.group, memory.amount) == (outer, GIB)
    assert (processors.group, processors.amount) == (outer, 0.5)
    # A limit above what the host has limits nothing.
    assert memory_limit(groups, GIB / 2) is None
    assert cpu_limit(groups, 0.5) is None
    # The path may be one of the host, which the container does not see.
    assert groups_of("0::/docker/0123\n", tmp_path) == [tmp_path]
    assert groups_of("", tmp_path) == []


def test_a_metric_of_a_limit_that_can_not_be_read_is_an_error(
    tmp_path: Path, membership: Path
) -> None:
    root = group(tmp_path / "cgroup", memory__max="1000000\n")
    with pytest.raises(OSError, match=r"memory\.current"):
        Machine(tmp_path, root, membership).read()


def content_of(lines: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def test_own_events_are_numbered_and_say_how_many_were_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own_events, "MOST_UNWRITTEN", 3)
    events = OwnEvents("warehouse.test")
    events.add_metrics("host-1", {"cpu_usage": 1.5, "load_average": 2})
    first = events.take()
    assert [
        (event["event"], event["actor"], event["properties"]["metric_type"])
        for event in content_of(first)
    ] == [
        ("system_metric", {"client_id": "_platform"}, "cpu_usage"),
        ("system_metric", {"client_id": "_platform"}, "load_average"),
    ]
    events.put_back(first)
    for _ in range(5):
        events.add("system_metric", {})
    contexts = [event["context"] for event in content_of(events.take())]
    assert [context["sequence"] for context in contexts] == [0, 1, 2]
    events.add("system_metric", {})
    events.add("system_metric", {})
    after = [event["context"] for event in content_of(events.take())]
    assert [(c["sequence"], c.get("dropped")) for c in after] == [(7, 4), (8, None)]
    producers = {context["producer"] for context in contexts + after}
    assert len(producers) == 1
    assert producers.pop().startswith("warehouse.test/")
    assert OwnEvents("warehouse.test").take() == []


def test_own_events_are_a_segment_of_their_own_and_leave_room_for_others(tmp_path: Path) -> None:
    events = OwnEvents("warehouse.test")
    events.add_metrics("host-1", {"cpu_usage": 1.5})
    lines = events.take()
    OwnSegments(tmp_path, 1 << 20).write(lines)
    (segment,) = segments(tmp_path, CLOSED)
    assert (segment.kind, segment.load_kind, segment.source) == (OWN_EVENTS, "events", "warehouse")
    ((kind, payload),) = records(segment.path.read_bytes())
    assert kind is RecordKind.ACCEPTED
    assert json.loads(payload)["properties"]["metric_value"] == 1.5
    # Half of the spool is for the events of producers.
    size = segment.path.stat().st_size
    with pytest.raises(SpoolError, match="the spool is full"):
        OwnSegments(tmp_path, 2 * size + 2).write(lines)
    OwnSegments(tmp_path, 4 * size + 4).write(lines)
    OwnSegments(tmp_path / "absent", 1 << 20).write(lines)
    assert len(segments(tmp_path / "absent", CLOSED)) == 1
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match="can't be written to"):
        OwnSegments(tmp_path / "file", 1 << 20).write(lines)
    assert len(list(tmp_path.glob("*own*"))) == len(list(tmp_path.glob(".2*"))) + 2 == 2
    assert time.time() - segment.received_at.timestamp() < 60


def test_calls_wait_for_a_collector_and_for_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(tmp_path, 1 << 20)

    def written() -> list[dict[str, Any]]:
        asyncio.run(calls.write())
        found = []
        for segment in segments(tmp_path, CLOSED):
            found += [json.loads(line) for _, line in records(segment.path.read_bytes())]
            segment.path.unlink()
        return [event["properties"] for event in found]

    with caplog.at_level(logging.WARNING, "warehouse.api"):
        calls.count("/v1/marts", "GET", 200, 0.0123456, None, has_key=True)
        calls.count("/v1/marts", "GET", 401, 0.001, "unauthorized", has_key=False)
        # Neither pages nor methods that there are not.
        calls.count("/dashboard/{page}", "GET", 200, 1, None, has_key=True)
        calls.count("/v1/marts", "BREW", 405, 1, None, has_key=True)
        assert written() == written() == []
        assert [record.message for record in caplog.records] == [
            "The API's own calls are not recorded meanwhile: no collector lands events from this "
            "spool."
        ]
        write_state(tmp_path, "away")
        kept = {"endpoint": "/v1/marts", "method": "GET"}
        assert written() == [
            kept | {"response_time_ms": 12.346, "status_code": 200},
            kept | {"response_time_ms": 1.0, "status_code": 401, "error_message": "unauthorized"},
        ]
        assert written() == []
        calls = Calls(tmp_path, 10)
        calls.count("/v1/marts", "GET", 200, 0, None, has_key=True)
        assert written() == []
        assert "the spool is full" in caplog.records[-1].message


def test_calls_without_a_key_are_few_whoever_makes_them(tmp_path: Path) -> None:
    write_state(tmp_path, "up")
    calls = Calls(tmp_path, 1 << 20)
    for _ in range(2):
        for _ in range(100):
            calls.count("/v1/marts", "GET", 401, 0.001, "unauthorized", has_key=False)
        calls.count("/v1/marts", "GET", 200, 0.001, None, has_key=True)
        asyncio.run(calls.write())
    for segment in segments(tmp_path, CLOSED):
        events = [json.loads(line) for _, line in records(segment.path.read_bytes())]
        statuses = [event["properties"]["status_code"] for event in events]
        assert statuses == [401] * 20 + [200]
        # What is not kept is known.
        assert events[-1]["context"]["dropped"] == 80
