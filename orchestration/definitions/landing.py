"""Assets of what lands: the drop folder into staging."""

# No postponed annotations here: Dagster looks at that of `context` itself.
from collections.abc import Iterator
from dataclasses import asdict

import dagster as dg

from ingestion.load import ledger
from ingestion.load.entities import EntityKind
from ingestion.sources.drop_folder import Dropped, load_dropped
from orchestration.definitions.dbt_assets import OWNERS
from orchestration.operations.notifications import note_set_aside
from warehouse.settings import settings

STAGING = {
    "raw_events": "One row per accepted event, as it came, less the IP.",
    "event_batches": "The ledger: one row per committed batch, numbered in commit order.",
    "loads": "One row per load of a file.",
    "used_sequences": "Numbers of producers that lines used which were not accepted.",
    "clients": "Clients as they are now.",
    "units": "Units as they are now.",
    "users": "Users as they are now.",
    "documents": "Documents as they are now.",
}

KINDS = {kind.value for kind in EntityKind}


@dg.multi_asset(
    name="drop_folder",
    description="Loads what waits in the drop folder, and moves it to done/ or failed/.",
    specs=[
        dg.AssetSpec(
            ["staging", name], description=description, group_name="staging", owners=OWNERS
        )
        for name, description in STAGING.items()
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "dropped_files_are_readable",
            asset=["staging", "event_batches"],
            description="No dropped file had to be set aside in failed/.",
        )
    ],
)
def drop_folder(
    context: dg.AssetExecutionContext,
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Load every dropped file; one that can't be read is set aside, and the rest goes on."""
    yield from landed(context.log, context.run_id)


def landed(
    log: dg.DagsterLogManager, run_id: str
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Load every dropped file; tell of the tables of staging, and of files that were set aside."""
    dropped = []
    for one in load_dropped(settings().drop):
        log.info("%s %s: %s", one.kind, one.name, one.error or asdict(one.counts))
        # At once: what comes after it may break off, and the next run finds nothing wrong.
        if one.error:
            note_set_aside(run_id, f"{one.kind}/{one.name}", one.error)
        dropped.append(one)
    for name in STAGING:
        kind = name if name in KINDS else ledger.EVENTS
        yield dg.MaterializeResult(["staging", name], metadata=_metadata(dropped, kind))
    failed = {one.name: one.error for one in dropped if one.error}
    yield dg.AssetCheckResult(
        asset_key=dg.AssetKey(["staging", "event_batches"]),
        check_name="dropped_files_are_readable",
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=failed,
    )


def _metadata(dropped: list[Dropped], kind: str) -> dict[str, int]:
    mine = [one for one in dropped if one.kind == kind]
    total = sum((one.counts for one in mine), ledger.Counts())
    return {"files": len(mine), **asdict(total)}


landing = dg.define_asset_job(
    "landing",
    selection=[drop_folder],
    description="The drop folder into staging.",
    executor_def=dg.in_process_executor,
)
