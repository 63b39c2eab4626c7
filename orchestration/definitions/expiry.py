"""The job of retention: what has had its time goes, every hour."""

# No postponed annotations here: Dagster looks at that of `context` itself.
import dagster as dg

from expectations.checks import forget_old_results
from orchestration.operations.expire import retain
from warehouse import database


@dg.op
def drop_what_has_had_its_time(context: dg.OpExecutionContext) -> None:
    """Drop raw events, salts, payloads, files, restatements and results that are too old."""
    done = retain()
    with database.connect(application_name="warehouse retain") as connection:
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
            "check_results": results,
        }
    )


@dg.job(executor_def=dg.in_process_executor)
def retention() -> None:
    """Raw events, salts after 48 h, payloads and files after 30 days, restatements after 400."""
    drop_what_has_had_its_time()
