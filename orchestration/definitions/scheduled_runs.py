"""Jobs of the schedules: check what landed, build it, export the row, and report what was built.

They are jobs of plain ops, because one run writes assets of every kind of partition. Afterwards a
run reports a materialization of each partition that it wrote, those of late events included.
"""

# No postponed annotations: Dagster evaluates the annotation of `context` itself.
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import dagster as dg
import psycopg
from dagster_dbt import DbtCliResource
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from orchestration.definitions.checks import monitoring_results, problems_by_check, suite_results
from orchestration.definitions.dbt_assets import (
    BUILDS,
    CHECKS,
    Translator,
    building,
    check_result,
    with_query,
)
from orchestration.definitions.landing import load_files
from orchestration.definitions.reporting import (
    everything_built,
    exported,
    only_written,
)
from orchestration.definitions.timetable import (
    EVERYTHING,
    MARKETING_ROW,
    OPERATIONS,
    TRAFFIC,
    BuildJob,
    lineage_of,
    parents,
)
from orchestration.operations import stored_build
from orchestration.operations.build import (
    BuildError,
    BuildOptions,
    dbt_command,
    raise_failures,
    why_dbt,
)
from orchestration.operations.export import export_row
from orchestration.operations.lineage import manifest
from orchestration.operations.notifications import note_checks, note_digest
from warehouse import database

Result = dg.MaterializeResult | dg.AssetCheckResult
Event = dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output


def _as_events(results: Iterable[Result]) -> Iterator[Event]:
    """Yield results as events of a plain op. Raises dg.Failure at the end if an error check failed.

    Events are yielded, not logged: Dagster keeps what a failed op has yielded, and nothing else.
    """
    failed = []
    for result in results:
        if isinstance(result, dg.MaterializeResult):
            yield dg.AssetMaterialization(result.asset_key, metadata=dict(result.metadata or {}))
            continue
        yield _as_evaluation(result)
        if not result.passed and result.severity is dg.AssetCheckSeverity.ERROR:
            failed.append(result.check_name)
    if failed:
        raise dg.Failure(f"Checks failed: {', '.join(failed)}. Downstream models were not rebuilt.")


def _as_evaluation(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=result.passed,
        severity=result.severity,
        metadata=dict(result.metadata or {}),
    )


AFTER = {"after": dg.In(dg.Nothing)}
DONE = dg.Out(dg.Nothing)


@dg.op(out=DONE)
def load_dropped_files(context: dg.OpExecutionContext) -> Iterator[Event]:
    """Load the files that wait in the drop folder."""
    yield from _as_events(load_files(context.log, context.run_id))
    yield dg.Output(None)


@dg.op(ins=AFTER, out=DONE)
def check_what_landed() -> Iterator[Event]:
    """Check what landed since the last passing run against the contract."""
    yield from _as_events(suite_results("raw_events", "event_batches"))
    yield dg.Output(None)


@dg.op(ins=AFTER, out=DONE)
def check_marketing_row() -> Iterator[Event]:
    """Check the candidate of the marketing row before it is exported."""
    yield from _as_events(suite_results("platform_stats"))
    yield dg.Output(None)


@dg.op(ins=AFTER, out=DONE)
def export_marketing_row(context: dg.OpExecutionContext) -> None:
    """Write the marketing row, if every blocking check has passed."""
    export_row(run=context.run_id)


@dg.op(out=DONE)
def run_monitoring_checks(context: dg.OpExecutionContext) -> Iterator[Event]:
    """Check freshness, volume and staging's columns, and notify of each check that fails."""
    results = list(monitoring_results())
    note_checks(context.run_id, problems_by_check(results))
    note_digest(datetime.now(UTC))
    yield from _as_events(results)
    yield dg.Output(None)


def _build_op(job: str, target: str | None) -> dg.OpDefinition:
    """Return the op that builds a model, or a folder of marts, with all its ancestors; or all."""

    @dg.op(name=f"build_{job}", ins=AFTER, out=DONE, pool=BUILDS)
    def build_unread_input(context: dg.OpExecutionContext, dbt: DbtCliResource) -> Iterator[Event]:
        """Build from unread input: by what dbt has stored, or with dbt where it must compile."""
        nodes = None if target is None else lineage_of(target)
        models = nodes and nodes & parents().keys()
        with building(models, BuildOptions()) as (connection, builder):
            try:
                if reason := why_dbt(connection, BuildOptions(), nodes):
                    context.log.info(f"dbt runs: {reason}.")
                    yield from _run_dbt(connection, dbt, target)
                else:
                    # The job of all models runs every test, also without unread input: somebody
                    # may have changed a table by hand.
                    built = stored_build.run(
                        connection, BuildOptions(), builder, models, every_test=target is None
                    )
                    # A test of several models that is named for none is no check of an asset.
                    checks = [test for test in built.tests if test.test in CHECKS]
                    yield from map(_as_evaluation, (check_result(connection, t) for t in checks))
                    raise_failures(built.failed)
            except (BuildError, DagsterDbtCliRuntimeError):
                # A build that failed may have written some models.
                yield from only_written(connection, models)
                raise
        yield dg.Output(None)

    return build_unread_input


def _report_op(job: str, target: str | None, *, exports: bool) -> dg.OpDefinition:
    """Return the op that reports what the job has written."""

    # After the export, which has waited long enough: Dagster writes each of these on its own.
    @dg.op(name=f"report_{job}", ins=AFTER, out=DONE, tags={"dagster/priority": "-1"})
    def report_what_was_built(context: dg.OpExecutionContext) -> Iterator[Event]:
        """Report a materialization of each partition that was written, and of the row.

        Inputs before what is built from them: Dagster compares when they were reported.
        """
        models = None if target is None else lineage_of(target)
        with database.connect_as_builder(
            autocommit=True, application_name="warehouse dagster"
        ) as connection:
            yield from everything_built(connection, context.instance, models)
            if exports:
                yield from exported(connection, context.instance)
        yield dg.Output(None)

    return report_what_was_built


def _run_dbt(
    connection: psycopg.Connection, dbt: DbtCliResource, target: str | None
) -> Iterator[dg.AssetCheckEvaluation]:
    """Run dbt and yield the results of its tests; the models are reported afterwards."""
    selection = ["--select", f"+{target}", "--indirect-selection", "buildable"] if target else []
    invocation = dbt.cli(
        [*dbt_command("build"), *selection],
        manifest=manifest(),
        dagster_dbt_translator=Translator(),
    )
    for message in invocation.stream_raw_events():
        for event in message.to_default_asset_events(
            manifest(), Translator(), target_path=invocation.target_path
        ):
            if isinstance(event, dg.AssetCheckEvaluation):
                yield with_query(connection, event, invocation.target_path)


def _job(
    of: BuildJob, description: str, *, lands: bool = False, exports: bool = False
) -> dg.JobDefinition:
    build = _build_op(of.name, of.target)
    report = _report_op(of.name, of.target, exports=exports)

    @dg.job(
        name=of.name,
        description=description,
        # One process, so that dbt and Great Expectations are imported once.
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        checked = check_what_landed(load_dropped_files()) if lands else check_what_landed()
        built = build(checked)
        report(built)
        if exports:
            export_marketing_row(check_marketing_row(built))

    return job


everything = _job(
    EVERYTHING,
    "Loads the drop folder, builds all models, runs all checks and exports the marketing row.",
    lands=True,
    exports=True,
)
marketing_row = _job(
    MARKETING_ROW,
    "Builds the marketing row with the models it needs, checks it and exports it.",
    exports=True,
)
traffic = _job(TRAFFIC, "Builds the traffic marts with the models they need.")
operations = _job(OPERATIONS, "Builds the marts of operations with the models they need.")


@dg.job(executor_def=dg.in_process_executor)
def watch() -> None:
    """Checks how fresh marts and row are, how much landed or waits, and the columns of staging."""
    run_monitoring_checks()


JOBS = [everything, marketing_row, traffic, operations, watch]
