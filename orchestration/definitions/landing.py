"""Assets of staging: files from the drop folder are loaded into its tables."""

# No postponed annotations: Dagster evaluates the annotation of `context` itself.
from collections.abc import Iterator
from dataclasses import asdict

import dagster as dg

from ingestion.load import ledger
from ingestion.load.entities import EntityKind
from ingestion.sources.drop_folder import Dropped, load_dropped
from orchestration.definitions.dbt_assets import OWNERS
from orchestration.definitions.replay import waiting_metadata
from orchestration.definitions.sources import SOURCES
from orchestration.definitions.timetable import EVERYTHING, shown
from orchestration.operations.notifications import note_quarantined_file
from warehouse.settings import settings

STAGING = {
    "raw_events": "One row per accepted event, as it was sent but without the IP.",
    "event_batches": "The ledger: one row per committed batch, numbered in commit order.",
    "loads": "One row per load of a file, or pull of a stream.",
    "used_sequences": "Sequence numbers of lines that were not accepted, by producer.",
    "rejected_events": "The quarantine: rejected lines and why. The job `replay` loads them again.",
    "unknown_members": "Members of events that the tracking plan does not know, by batch.",
    "clients": "The current version of each client.",
    "units": "The current version of each unit.",
    "users": "The current version of each user.",
    "documents": "The current version of each document.",
}

PULLED = [key for one in SOURCES for key in one.assets.keys]
KEPT_FRESH_BY = f"job landing, as files come (sensor dropped_files); {shown(EVERYTHING)}"
KINDS = {kind.value for kind in EntityKind}


@dg.multi_asset(
    name="drop_folder",
    description="Loads the files in the drop folder and moves them to done/ or failed/.",
    specs=[
        dg.AssetSpec(
            ["staging", name],
            description=description,
            group_name="staging",
            owners=OWNERS,
            metadata={"kept_fresh_by": KEPT_FRESH_BY},
            # Each pull is in the ledger; whether a stream is of events its database says.
            deps=PULLED if name == "event_batches" else (),
        )
        for name, description in STAGING.items()
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "dropped_files_are_readable",
            asset=["staging", "event_batches"],
            description="Every dropped file could be loaded; none was quarantined in failed/.",
        )
    ],
)
def drop_folder(
    context: dg.AssetExecutionContext,
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Load every dropped file; one that can't be read is quarantined and blocks no other."""
    yield from load_files(context.log, context.run.run_id)


def load_files(
    log: dg.DagsterLogManager, run_id: str
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Load every dropped file; yield the tables of staging, and the check of quarantined files."""
    dropped = []
    for one in load_dropped(settings().drop):
        log.info("%s %s: %s", one.kind, one.name, one.error or asdict(one.counts))
        # Before the next file: if this run is interrupted, later runs do not see this file.
        if one.error:
            note_quarantined_file(run_id, f"{one.kind}/{one.name}", one.error)
        dropped.append(one)
    for name in STAGING:
        waiting = waiting_metadata() if name == "rejected_events" else {}
        yield dg.MaterializeResult(
            ["staging", name], metadata=_metadata(dropped, kind_of(name)) | waiting
        )
    failed = {one.name: one.error for one in dropped if one.error}
    yield dg.AssetCheckResult(
        asset_key=dg.AssetKey(["staging", "event_batches"]),
        check_name="dropped_files_are_readable",
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=failed,
    )


def kind_of(table: str) -> str:
    """Return the kind of batches that write to a table of staging."""
    return table if table in KINDS else ledger.EVENTS


def _metadata(dropped: list[Dropped], kind: str) -> dict[str, int]:
    of_kind = [one for one in dropped if one.kind == kind]
    total = sum((one.counts for one in of_kind), ledger.Counts())
    return {"files": len(of_kind), **asdict(total)}


landing = dg.define_asset_job(
    "landing",
    selection=[drop_folder],
    description="Loads the drop folder into staging.",
    executor_def=dg.in_process_executor,
)
