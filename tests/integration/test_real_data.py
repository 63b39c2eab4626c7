"""Recorded data of others through the whole way in: the totals that its README gives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ingestion.load.ledger import Counts
from ingestion.load.loader import load
from ingestion.sources.files import open_source
from ingestion.sources.mapping import find_mapping
from warehouse.settings import PROJECT_DIR

DATA = PROJECT_DIR.parent / "shared" / "data"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the recorded data is not in {DATA}"),
]


def load_mapped(mapping: str, path: Path) -> Counts:
    return load(open_source(str(path), find_mapping(mapping))).counts


def test_aider_gives_its_totals_and_the_snapshots_add_nothing(warehouse):
    counts = load_mapped("sources/aider.sql", DATA / "aider" / "events.jsonl.gz")
    assert counts == Counts(received=35_200, accepted=31_621, duplicates=3_579)

    events = warehouse.execute(
        "select event, count(*), count(*) filter (where properties ->> 'error_occurred' = 'true') "
        "from staging.raw_events group by event order by event"
    ).fetchall()
    assert events == [("builder_action", 19_036, 0), ("chat", 5_210, 52), ("session", 7_375, 0)]
    tokens_and_cost = warehouse.execute(
        "select sum((properties ->> 'tokens_prompt')::bigint), "
        "sum((properties ->> 'tokens_completion')::bigint), "
        "round(sum((properties ->> 'cost_prompt')::numeric), 6)::text "
        "from staging.raw_events where event = 'chat'"
    ).fetchone()
    assert tokens_and_cost == (67_119_556, 2_626_290, "172.790687")

    snapshots = sorted((DATA / "aider").glob("snapshot_*.jsonl.gz"))
    assert len(snapshots) == 12
    random.Random(12).shuffle(snapshots)
    for snapshot in snapshots:
        assert load_mapped("aider", snapshot) == Counts(received=1_000, duplicates=1_000)


def test_snapshots_before_the_rest_change_nothing_in_the_end(warehouse):
    snapshots = sorted((DATA / "aider").glob("snapshot_*.jsonl.gz"), reverse=True)
    early = sum((load_mapped("aider", snapshot) for snapshot in snapshots), Counts())
    late = load_mapped("aider", DATA / "aider" / "events.jsonl.gz")
    assert early.accepted + late.accepted == 31_621
    assert early.rejected == late.rejected == 0


def test_azure_gives_a_chat_for_every_line(warehouse):
    for name, rows in (("code", 8_819), ("conv", 19_366)):
        path = DATA / "azure_llm" / f"AzureLLMInferenceTrace_{name}.csv.gz"
        assert load_mapped("azure_llm", path) == Counts(received=rows, accepted=rows)
    clients = warehouse.execute(
        "select client_id, count(*) from staging.raw_events where event = 'chat' "
        "group by client_id order by client_id"
    ).fetchall()
    assert clients == [("azure-code", 8_819), ("azure-conv", 19_366)]


def test_upptime_gives_an_api_request_for_every_check(warehouse):
    path = DATA / "upptime" / "upptime_checks.csv"
    assert load_mapped("upptime", path) == Counts(received=3_122, accepted=3_122)
    unanswered = warehouse.execute(
        "select count(*) from staging.raw_events where event = 'api_request' "
        "and client_id = '_platform' and properties ->> 'status_code' = '599'"
    ).fetchone()
    with path.open() as rows:
        assert unanswered == (sum(line.split(",")[-2] == "0" for line in rows),)
