"""A dry run of a load shows what the load would do, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from ingestion.load import chunks
from ingestion.load.dry_run import dry_run
from ingestion.load.loader import load
from ingestion.sources.files import open_source
from tests.support.lines import STAGED_TABLES, line, mixed_file, rows, value
from tests.support.processes import run
from warehouse.settings import settings

LINES = 500


def traces(connection: psycopg.Connection) -> object:
    """All that a load may leave: rows, partitions, numbers, files."""
    return (
        {table: rows(connection, f"select * from staging.{table}") for table in STAGED_TABLES},  # noqa: S608
        rows(
            connection, "select relname from pg_class where relnamespace = 'staging'::regnamespace"
        ),
        value(connection, "select last_value from staging.batch_ids"),
        sorted(settings().home.rglob("*.ndjson")),
    )


@pytest.mark.parametrize("landed", [0, LINES // 2])
def test_a_dry_run_counts_like_the_load_and_leaves_nothing(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, landed: int
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_LINES", 100)
    before, file = tmp_path / "before.ndjson", tmp_path / "events.ndjson"
    before.write_bytes(mixed_file(landed))
    load(open_source(str(before)))
    misspelt = line(LINES, event="chat", properties={"token_prompt": 1})
    file.write_bytes(mixed_file(LINES) + misspelt + misspelt)
    left = traces(warehouse)
    shown = dry_run(open_source(str(file)))
    assert traces(warehouse) == left

    loaded = load(open_source(str(file)))
    assert shown.counts == loaded.counts
    assert shown.counts.duplicates > 0
    assert shown.unknown_members == loaded.unknown_members
    assert shown.envelopes == [text.decode() for text in file.read_bytes().split(b"\n")[:3]]
    assert {reason: (why.lines, why.first_line) for reason, why in shown.rejected.items()} == {
        "unknown_event": (LINES // 10, 4)
    }


def test_people_see_counts_reasons_first_events_and_unknown_members(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(line(1, event="chat", properties={"token_prompt": 1}) + b"no JSON\n" + line(2))
    left = traces(warehouse)
    tried = run("load", "--dry-run", "--strict", file)
    assert traces(warehouse) == left
    assert tried.code == 3
    assert "invalid_json" in tried.output
    assert "line 2: Expecting value at character 1" in tried.output
    assert '"token_prompt": 1' in tried.output
    assert "did you mean properties.tokens_prompt?" in tried.errors
    assert "Nothing was loaded" in tried.errors
    (answer,) = run("load", "--dry-run", "--json", file).answer["files"]
    assert (answer["counts"]["received"], answer["counts"]["rejected"]) == (3, 1)
    assert answer["rejected"]["invalid_json"]["first_line"] == 2


def test_a_dry_run_of_a_mapping_shows_what_the_mapping_makes(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    mapping, file = tmp_path / "orders.sql", tmp_path / "orders.csv"
    mapping.write_text(
        "select 'signup' as event, happened_at as timestamp, {'client_id': shop} as actor "
        "from read_csv(getvariable('source'), all_varchar = true)"
    )
    file.write_text("shop,happened_at\nacme,2026-01-01T00:00:00Z\n,2026-01-01T00:00:00Z\n")
    left = traces(warehouse)
    tried = run("load", "--dry-run", "--json", "--map", mapping, file)
    assert traces(warehouse) == left
    (answer,) = tried.answer["files"]
    assert answer["counts"]["accepted"] == 1
    assert '"client_id":"acme"' in answer["envelopes"][0]
    assert answer["rejected"]["missing_field"]["first_line"] == 2
