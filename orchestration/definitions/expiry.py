"""The hourly job that deletes what is older than its retention period."""

# No postponed annotations here: Dagster looks at that of `context` itself.
import dagster as dg

from expectations.checks import forget_old_results
from orchestration.operations.expire import expire
from warehouse import database


@dg.op
def delete_expired(context: dg.OpExecutionContext) -> None:
    """Delete raw events, salts, payloads, files, restatements and check results too old to keep."""
    done = expire()
    with database.connect(application_name="warehouse expire") as connection:
        results = forget_old_results(connection)
    context.add_output_metadata(
        {
            "months": len([month for month in done.months if month.kept is None]),
            "events": sum(month.events for month in done.months if month.kept is None),
            "kept": {f"{month.month:%Y-%m}": month.kept for month in done.months if month.kept},
            "salts": done.salts,
            "payloads": done.payloads,
            "dropped_files": done.dropped_files,
            "restatements": done.restatements,
            "unknown_members": done.unknown_members,
            "check_results": results,
        }
    )


@dg.job(executor_def=dg.in_process_executor)
def expiry() -> None:
    """Deletes old raw events; salts after 48 h, payloads and files after 30 days, and more."""
    delete_expired()
