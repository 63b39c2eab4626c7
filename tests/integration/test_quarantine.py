"""What was refused can be looked at and sent in again; nothing of it is ever lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestion.contract import tracking_plan
from ingestion.contract.envelope import event_shapes, event_union
from ingestion.load import quarantine
from ingestion.load.ledger import Counts
from ingestion.load.quarantine import Which, preview_replay, replay
from tests.conftest import DEEP
from tests.support.lines import contents, line, rows, value
from tests.support.processes import finish, held, kill, run, start, until

# Will be an event of the plan once it is fixed, and will not.
LATER, NEVER = "tour_booked", "no such event"
CONTENT = (
    line(0)
    + line(1, event=LATER)
    + b"no JSON\n"
    + line(2, event=LATER)
    + line(3, event=NEVER)
    + line(4, event=LATER, actor={})
)
REASONS = {2: "unknown_event", 3: "invalid_json", 4: "unknown_event", 5: "unknown_event"}
REASONS[6] = "unknown_event"

# How `load` ends where every line was rejected.
NOTHING_LOADED = 1


@pytest.fixture
def file(warehouse: psycopg.Connection, tmp_path: Path) -> Path:
    """A file that was loaded, with one line that landed and five that were refused."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(CONTENT)
    assert run("load", path).code == 0
    return path


@pytest.fixture
def fix_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Give a function that puts LATER into the plan of this process."""
    caches = (tracking_plan.tracking_plan, event_union, event_shapes)

    def fix() -> None:
        plan = tracking_plan.PLAN_FILE.read_text()
        fixed = tmp_path / "tracking_plan.yml"
        fixed.write_text(f"{plan}\n  {LATER}: {{description: A tour., used_for: tests}}\n")
        monkeypatch.setattr(tracking_plan, "PLAN_FILE", fixed)
        for cached in caches:
            cached.cache_clear()

    yield fix
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


def answer(*arguments: object) -> dict[str, Any]:
    finished = run("rejected", *arguments, "--json")
    assert (finished.code, finished.errors) == (0, "")
    return finished.answer


def waiting(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return rows(
        connection,
        "select reason, payload from staging.rejected_events where replayed_at is null "
        "order by reject_id",
    )


def assert_counts_reconcile(connection: psycopg.Connection) -> None:
    assert value(connection, "select sum(accepted) from staging.event_batches") == value(
        connection, "select count(*) from staging.raw_events"
    )
    assert value(connection, "select sum(rejected) from staging.event_batches") == value(
        connection, "select count(*) from staging.rejected_events"
    )


def test_the_list_counts_what_was_refused_by_reason_and_source(
    warehouse: psycopg.Connection, file: Path
) -> None:
    unknown, invalid = answer("list")["rejected"]
    assert (unknown["reason"], unknown["kind"], unknown["source"]) == (
        "unknown_event", "events", str(file),
    )  # fmt: skip
    assert (unknown["rejected"], unknown["waiting"]) == (4, 4)
    assert (invalid["reason"], invalid["rejected"]) == ("invalid_json", 1)
    assert answer("show", unknown["example_id"])["reason"] == "unknown_event"
    people = run("rejected", "list")
    assert people.code == 0
    assert "invalid_json" in people.output


def test_an_empty_quarantine_says_so(warehouse: psycopg.Connection) -> None:
    assert answer("list") == {"rejected": []}
    assert "Nothing was rejected" in run("rejected", "list").output


def test_a_refused_line_is_shown_with_its_place_its_reason_and_its_bytes(
    warehouse: psycopg.Connection, file: Path
) -> None:
    lines = CONTENT.splitlines()
    for reject_id, (number, reason) in enumerate(REASONS.items(), 1):
        shown = answer("show", reject_id)
        assert shown["payload"].encode() == lines[number - 1]
        assert (shown["line_number"], shown["reason"]) == (number, reason)
        assert shown["source"] == str(file)
        assert shown["detail"]
        assert shown["replayed_at"] is None
    people = run("rejected", "show", reject_id)
    assert people.output.startswith(f"{reason}: {shown['detail']}\nline {number} of {file}")


def test_of_a_long_line_people_see_the_beginning_and_programs_all(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"x" * 300_000)
    assert run("load", path).code == NOTHING_LOADED
    assert answer("show", 1)["payload"] == "x" * 262_144
    people = run("rejected", "show", 1).output
    assert people.endswith("x\n… and 258,144 more characters; --json shows all of them.\n")
    assert len(people) < 5_000


def test_nothing_in_a_refused_line_steers_the_terminal(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(
        b"\x1b[2J\x1b]0;title\x07 \xff \xe2\x80\xae \r overwritten\n" + b'{"\x1b[2J":1}'
    )
    assert run("load", path).code == NOTHING_LOADED
    for reject_id in (1, 2):
        shown = run("rejected", "show", reject_id)
        assert shown.code == 0
        assert all(character.isprintable() for character in shown.output.replace("\n", ""))


def test_a_reject_that_does_not_exist_is_a_clear_failure(warehouse: psycopg.Connection) -> None:
    finished = run("rejected", "show", 4711)
    assert (finished.code, finished.output) == (1, "")
    assert finished.errors == (
        "warehouse: There is no rejected line 4711: `warehouse rejected list` shows which exist.\n"
    )


def test_after_the_plan_is_fixed_refused_lines_land_and_are_marked_not_deleted(
    warehouse: psycopg.Connection, file: Path, fix_plan: Callable[[], None]
) -> None:
    before = rows(
        warehouse,
        "select reject_id, line_number, reason, detail, payload from staging.rejected_events "
        "order by reject_id",
    )
    fix_plan()
    assert replay() == Counts(received=5, accepted=2, rejected=3)
    landed = rows(warehouse, "select event, actor->>'user_id' from staging.raw_events order by 2")
    assert landed == [("signup", "user-0"), (LATER, "user-1"), (LATER, "user-2")]
    marked = rows(
        warehouse,
        "select reject_id, line_number, reason, detail, payload from staging.rejected_events "
        "where replayed_at is not null order by reject_id",
    )
    assert marked == before
    assert_counts_reconcile(warehouse)


def test_what_is_refused_once_more_waits_as_a_new_reject(
    warehouse: psycopg.Connection, file: Path, fix_plan: Callable[[], None]
) -> None:
    fix_plan()
    replay()
    lines = CONTENT.splitlines()
    # The third one is refused for another reason now.
    still_bad = [
        ("invalid_json", lines[2]), ("unknown_event", lines[4]), ("missing_field", lines[5]),
    ]  # fmt: skip
    assert waiting(warehouse) == still_bad
    assert replay() == Counts(received=3, rejected=3)
    assert waiting(warehouse) == still_bad
    ((source, marked),) = rows(
        warehouse,
        "select distinct b.source, r.replayed_at is not null from staging.rejected_events as r "
        "inner join staging.event_batches as b using (batch_seq) where r.replayed_at is null",
    )
    assert (source, marked) == ("replay", False)
    # Each keeps the file and line that it came from, however often it is replayed.
    found = rows(
        warehouse,
        "select source, line_number, reason from warehouse.rejected_lines where is_waiting "
        "order by reject_id",
    )
    assert found == [
        (str(file), 3, "invalid_json"), (str(file), 5, "unknown_event"),
        (str(file), 6, "missing_field"),
    ]  # fmt: skip
    last = value(warehouse, "select max(reject_id) from staging.rejected_events")
    shown = answer("show", last)
    assert (shown["source"], shown["line_number"]) == (str(file), 6)
    (group, *_) = answer("list", "--source", file.name, "--reason", "missing_field")["rejected"]
    assert (group["source"], group["waiting"]) == (str(file), 1)
    received = "select sum(received), sum(replayed) from staging.event_batches"
    assert rows(warehouse, received) == [(6, 8)]
    assert_counts_reconcile(warehouse)


def test_only_lines_of_one_reason_are_sent_again_where_one_is_asked_for(
    warehouse: psycopg.Connection, file: Path
) -> None:
    assert answer("replay", "--reason", "invalid_json")["received"] == 1
    marked = "select reason from staging.rejected_events where replayed_at is not null"
    assert rows(warehouse, marked) == [("invalid_json",)]
    unknown = run("rejected", "replay", "--reason", "no such reason")
    assert (unknown.code, unknown.output) == (1, "")
    assert "No line is rejected for the reason 'no such reason'" in unknown.errors


def test_the_list_and_replays_are_narrowed_by_file_event_day_and_id(
    warehouse: psycopg.Connection, file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.ndjson"
    nul = json.dumps({"event": "\0"}).encode()
    other.write_bytes(line(7, event=LATER, actor={}) + b"\xff\n[]\n" + nul)
    assert run("load", other).code == NOTHING_LOADED
    warehouse.execute(
        "update staging.rejected_events set received_at = '2026-01-01T23:59:59Z' "
        "where reject_id = 1"
    )

    def counted(*options: object) -> dict[tuple[str, str], int]:
        groups = answer("list", *options)["rejected"]
        return {(Path(one["source"]).name, one["reason"]): one["rejected"] for one in groups}

    mine, others = file.name, other.name
    assert counted("--source", others) == {
        (others, "unknown_event"): 1, (others, "invalid_encoding"): 1, (others, "not_an_object"): 1,
        (others, "invalid_field"): 1,
    }  # fmt: skip
    assert counted("--source", file) == {(mine, "unknown_event"): 4, (mine, "invalid_json"): 1}
    assert counted("--event", LATER) == {(mine, "unknown_event"): 3, (others, "unknown_event"): 1}
    assert counted("--event", LATER, "--day", "2026-01-01") == {(mine, "unknown_event"): 1}
    assert counted("--event", "none such") == {}
    assert answer("replay", "--id", 1, "--id", 2, "--reason", "unknown_event")["received"] == 1
    assert answer("replay", "--event", LATER, "--source", others)["received"] == 1
    marked = "select reject_id from staging.rejected_events where replayed_at is not null"
    assert rows(warehouse, marked) == [(1,), (6,)]


def test_a_dry_replay_shows_old_and_new_outcomes_and_changes_nothing(
    warehouse: psycopg.Connection, file: Path, fix_plan: Callable[[], None]
) -> None:
    file.write_bytes(line(1, event=LATER))
    assert run("load", file).code == NOTHING_LOADED
    fix_plan()
    before = contents(warehouse)
    changes = preview_replay()
    assert {(one.reason, one.outcome): one.lines for one in changes} == {
        ("unknown_event", "accepted"): 2,
        # It came twice.
        ("unknown_event", "duplicate"): 1,
        ("unknown_event", "unknown_event"): 1,
        ("unknown_event", "missing_field"): 1,
        ("invalid_json", "invalid_json"): 1,
    }
    assert contents(warehouse) == before
    assert replay() == Counts(received=6, accepted=2, duplicates=1, rejected=3)
    # Other processes have the plan without the fix.
    shown = answer("replay", "--dry-run")["changes"]
    assert {(one["reason"], one["outcome"]) for one in shown} == {
        ("unknown_event", "unknown_event"), ("invalid_json", "invalid_json"),
        ("missing_field", "unknown_event"),
    }  # fmt: skip
    people = run("rejected", "replay", "--dry-run", "--reason", "missing_field")
    assert "rejected: unknown_event" in people.output
    assert "Nothing was loaded" in people.errors


def test_a_line_that_is_too_large_is_never_sent_again(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    # What is kept of it reads like a valid line.
    path.write_bytes(line(1)[:-1].ljust(262_144) + b"and more\nno JSON\n")
    assert run("load", path).code == NOTHING_LOADED
    assert replay() == Counts(received=1, rejected=1)
    finished = run("rejected", "replay", "--reason", "too_large")
    assert (finished.code, finished.output) == (1, "")
    assert "Lines that are too large can't be replayed" in finished.errors
    assert [reason for reason, _ in waiting(warehouse)] == ["too_large", "invalid_json"]
    kept = "select octet_length(payload) from staging.rejected_events where reason = 'too_large'"
    assert rows(warehouse, kept) == [(262_144,)]
    assert value(warehouse, "select count(*) from staging.raw_events") == 0


def test_a_replay_that_is_strict_reports_what_is_still_refused(
    warehouse: psycopg.Connection, file: Path
) -> None:
    assert run("rejected", "replay", "--strict").code == 3
    assert run("rejected", "replay").code == 0


def test_a_replay_of_nothing_changes_nothing(warehouse: psycopg.Connection) -> None:
    assert answer("replay") == dict.fromkeys(
        ("received", "accepted", "duplicates", "suppressed", "rejected", "suppressed_erased"), 0
    )
    assert value(warehouse, "select count(*) from staging.event_batches") == 0


def test_what_landed_in_the_meantime_is_a_duplicate(
    warehouse: psycopg.Connection,
    file: Path,
    fix_plan: Callable[[], None],
) -> None:
    fix_plan()
    replay(Which(reason="unknown_event"))
    file.write_bytes(line(1, event="signup"))
    assert run("load", file).code == 0
    warehouse.execute("update staging.rejected_events set replayed_at = null")
    assert replay(Which(reason="unknown_event")).duplicates == 2
    assert value(warehouse, "select count(*) from staging.raw_events") == 3
    assert_counts_reconcile(warehouse)


LINES = CONTENT.splitlines()
# That are replayed at once, and how many lines each chunk has then.
LIMITS = {
    "REPLAYED_AT_ONCE": (2, [2, 2, 1]),
    # Each chunk is closed by the line with which it reaches so many bytes.
    "REPLAYED_BYTES": (len(LINES[1]) + 1, [2, 2, 1]),
}


@pytest.mark.parametrize(
    ("warehouse", "limit"),
    [
        DEEP(16, "REPLAYED_AT_ONCE"),
        (18, "REPLAYED_AT_ONCE"),
        (18, "REPLAYED_BYTES"),
    ],
    indirect=["warehouse"],
)
def test_a_replay_in_many_chunks_ends_as_one_in_few(
    warehouse: psycopg.Connection,
    file: Path,
    fix_plan: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
) -> None:
    most, received = LIMITS[limit]
    monkeypatch.setattr(quarantine, limit, most)
    fix_plan()
    assert replay() == Counts(received=5, accepted=2, rejected=3)
    assert len(waiting(warehouse)) == 3
    chunks = rows(
        warehouse,
        "select chunk, replayed from staging.event_batches where source = 'replay' order by chunk",
    )
    assert chunks == list(enumerate(received))
    assert_counts_reconcile(warehouse)


def test_refused_rows_of_entities_wait_for_their_file(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "clients.ndjson"
    path.write_bytes(json.dumps({"client_id": "a"}).encode())
    assert run("load-entities", "clients", path).code == NOTHING_LOADED
    assert answer("replay")["received"] == 0
    assert len(waiting(warehouse)) == 1


MARKING = "before update on staging.rejected_events for each row"


def test_a_replay_that_is_killed_leaves_all_waiting(
    warehouse: psycopg.Connection, file: Path
) -> None:
    before = waiting(warehouse)
    with held(warehouse, MARKING) as is_waiting:
        process = start("rejected", "replay")
        until(is_waiting)
        kill(process)
    assert waiting(warehouse) == before
    assert answer("replay") == answer("replay")
    assert waiting(warehouse) == before
    assert_counts_reconcile(warehouse)


def test_of_two_replays_at_once_one_takes_the_lines_and_the_other_says_so(
    warehouse: psycopg.Connection, file: Path
) -> None:
    before = waiting(warehouse)
    with held(warehouse, MARKING) as is_waiting:
        first = start("rejected", "replay", "--json")
        until(is_waiting)
        second = start("rejected", "replay", "--json")
        waits = (
            "select count(*) from pg_locks where not granted and (locktype = 'advisory' "
            "or relation = 'warehouse.lock_batch_seq'::regclass)"
        )
        until(lambda: value(warehouse, waits) == 2)
    assert finish(first).answer["received"] == len(before)
    finished = finish(second)
    assert (finished.code, finished.output) == (1, "")
    assert "another replay took some of these lines; run it again" in finished.errors
    assert waiting(warehouse) == before
    assert_counts_reconcile(warehouse)
    states = rows(warehouse, "select state from staging.loads where source = 'replay' order by 1")
    assert states == [("abandoned",), ("finished",)]
