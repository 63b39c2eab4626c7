"""The job that loads rejected lines again, after the tracking plan was fixed."""

# No postponed annotations here: Dagster looks at those of `context` and `config` itself.
from dataclasses import asdict
from datetime import date

import dagster as dg
from pydantic import Field

from ingestion.load.quarantine import Which, preview_replay, replay, waiting_by_reason
from warehouse import database

QUARANTINE = dg.AssetKey(["staging", "rejected_events"])


class ReplayConfig(dg.Config):
    """Which lines are replayed: those that fulfil all conditions that are given."""

    reason: str | None = Field(None, description="The reason that they were rejected for.")
    source: str | None = Field(None, description="Their file: its path or its name.")
    event: str | None = Field(None, description="Their event.")
    day: str | None = Field(None, description="The UTC day of their receipt, like 2026-01-31.")
    ids: list[int] | None = Field(None, description="Their ids.")
    dry_run: bool = Field(False, description="Load nothing; show what would become of the lines.")


@dg.op
def replay_rejected(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
    """Load waiting lines again, and record how many were taken and how many wait."""
    which = Which(
        config.reason,
        config.source,
        config.event,
        date.fromisoformat(config.day) if config.day else None,
        config.ids,
    )
    if config.dry_run:
        changes = {f"{one.reason} to {one.outcome}": one.lines for one in preview_replay(which)}
        context.add_output_metadata(changes)
        return
    counts = asdict(replay(which))
    counts["replayed"] = counts.pop("received")
    context.log_event(dg.AssetMaterialization(QUARANTINE, metadata=counts | waiting_metadata()))


def waiting_metadata() -> dict[str, int]:
    """Return how many rejected lines wait, by reason, as metadata of the quarantine."""
    with database.connect(application_name="warehouse rejected list") as connection:
        waiting = waiting_by_reason(connection)
    return {f"waiting: {reason}": lines for reason, lines in waiting.items()}


@dg.job(name="replay", executor_def=dg.in_process_executor)
def replay_job() -> None:
    """Loads rejected lines again, after the tracking plan was fixed; by its config some alone."""
    replay_rejected()
