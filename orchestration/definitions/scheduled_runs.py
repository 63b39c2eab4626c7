"""Jobs of the schedules: check what landed, build it, export the row, and report what was built.

They are jobs of plain ops, because one run writes assets of every kind of partition. Afterwards a
run reports a materialization of each partition that it wrote, those of late events included.
"""

# No postponed annotations: Dagster evaluates the annotation of `context` itself.
from collections.abc import Iterable, Iterator

import dagster as dg
import psycopg
from dagster_dbt import DbtCliResource
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from orchestration.definitions.checks import monitoring_results, problems_by_check, suite_results
from orchestration.definitions.dbt_assets import (
    BUILDS,
    CHECKS,
    Translator,
    as_query,
    building,
    parents,
    with_query,
)
from orchestration.definitions.landing import load_files
from orchestration.definitions.marketing_row import export_result
from orchestration.definitions.partitions import PARTITIONS, key_of, period_of
from orchestration.operations import stored_build
from orchestration.operations.build import (
    BuildError,
    BuildOptions,
    dbt_command,
    raise_failures,
    why_dbt,
)
from orchestration.operations.lineage import manifest, with_ancestors
from orchestration.operations.notifications import note_checks
from orchestration.operations.stored_build import TestResult
from warehouse import database
from warehouse.sql_files import read_sql

UNREPORTED = read_sql(__file__, "unreported_periods")

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
        yield dg.AssetCheckEvaluation(
            asset_key=result.asset_key,
            check_name=result.check_name,
            passed=result.passed,
            severity=result.severity,
            metadata=dict(result.metadata or {}),
        )
        if not result.passed and result.severity is dg.AssetCheckSeverity.ERROR:
            failed.append(result.check_name)
    if failed:
        raise dg.Failure(f"Checks failed: {', '.join(failed)}. Downstream models were not rebuilt.")


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
def export_marketing_row(context: dg.OpExecutionContext) -> Iterator[Event]:
    """Write the marketing row, if every blocking check has passed."""
    yield from _as_events([export_result(context.run_id)])
    yield dg.Output(None)


@dg.op(out=DONE)
def run_monitoring_checks(context: dg.OpExecutionContext) -> Iterator[Event]:
    """Check freshness, volume and staging's columns, and notify of each check that fails."""
    results = list(monitoring_results())
    note_checks(context.run_id, problems_by_check(results))
    yield from _as_events(results)
    yield dg.Output(None)


def _build_op(job: str, target: str | None) -> dg.OpDefinition:
    """Return the op that builds a model, or a folder of marts, with all its ancestors; or all."""

    @dg.op(name=f"build_{job}", ins=AFTER, out=DONE, pool=BUILDS)
    def build_unread_input(context: dg.OpExecutionContext, dbt: DbtCliResource) -> Iterator[Event]:
        """Build from unread input: by what dbt has stored, or with dbt where it must compile."""
        nodes = None if target is None else _lineage_of(target)
        models = nodes and nodes & parents().keys()
        with building(models, BuildOptions()) as (connection, builder):
            try:
                if reason := why_dbt(connection, BuildOptions(), nodes):
                    context.log.info(f"dbt runs: {reason}.")
                    yield from _run_dbt(dbt, target)
                else:
                    # The job of all models runs every test, also without unread input: somebody
                    # may have changed a table by hand.
                    built = stored_build.run(
                        connection, BuildOptions(), builder, models, every_test=target is None
                    )
                    yield from _check_evaluations(built.tests)
                    raise_failures(built.failed)
            except (BuildError, DagsterDbtCliRuntimeError):
                # A build that failed may have written some models.
                yield from _materializations(connection, models)
                raise
        yield dg.Output(None)

    return build_unread_input


def _report_op(job: str, target: str | None) -> dg.OpDefinition:
    """Return the op that reports what the job's build has written."""

    # After the export, which has waited long enough: Dagster writes each of these on its own.
    @dg.op(name=f"report_{job}", ins=AFTER, out=DONE, tags={"dagster/priority": "-1"})
    def report_what_was_built() -> Iterator[Event]:
        """Report a materialization of each partition that was written."""
        models = None if target is None else _lineage_of(target)
        with database.connect_as_builder(
            autocommit=True, application_name="warehouse dagster"
        ) as connection:
            yield from _materializations(connection, models)
        yield dg.Output(None)

    return report_what_was_built


def _check_evaluations(tests: Iterable[TestResult]) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield results of dbt's tests, as dagster-dbt does for those that dbt has run."""
    for test in tests:
        # A test of several models that none of them is named for is no check of an asset.
        if spec := CHECKS.get(test.test):
            yield dg.AssetCheckEvaluation(
                asset_key=spec.asset_key,
                check_name=spec.name,
                passed=test.outcome == "pass",
                severity=dg.AssetCheckSeverity[test.severity.upper()],
                metadata={
                    "status": test.outcome,
                    "dagster_dbt/failed_row_count": test.failures,
                    "query": as_query(test.failing_rows),
                },
            )


def _run_dbt(dbt: DbtCliResource, target: str | None) -> Iterator[dg.AssetCheckEvaluation]:
    """Run dbt and yield the results of its tests; `_materializations` reports the models."""
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
                yield with_query(event, invocation.target_path)


def _lineage_of(target: str) -> set[str]:
    """Return a model, or the marts of a folder, with all nodes that they are built from."""
    named = [
        node["name"]
        for node in manifest()["nodes"].values()
        if node["resource_type"] == "model"
        and target in {node["name"], ".".join(node["fqn"][1:-1])}
    ]
    # Without sources, which have a schema before their name.
    return {name for name in with_ancestors(named, parents()) if "." not in name}


def _materializations(
    connection: psycopg.Connection, models: set[str] | None
) -> Iterator[dg.AssetMaterialization]:
    """Yield what builds wrote of some models, or of all, as materializations.

    One of each partition, or one of a model without partitions.
    """
    nodes = {node["name"]: node for node in manifest()["nodes"].values()}
    unreported = connection.execute(
        UNREPORTED, {"models": None if models is None else sorted(models)}
    ).fetchall()
    reported: list[int] = []
    for model, period_start, row_count, rows_written, from_batch, to_batch, ids in unreported:
        reported += ids
        if model not in nodes:
            continue
        node = nodes[model]
        period = period_of(node)
        if (period is None) != (period_start is None):
            continue
        key = None
        if period:
            key = key_of(period_start)
            # The data may begin before the first partition.
            if not PARTITIONS[period].has_partition_key(key):
                continue
        yield dg.AssetMaterialization(
            Translator().get_asset_key(node),
            partition=key,
            metadata={
                "dagster/row_count": row_count,
                "rows_written": rows_written,
                "from_batch": from_batch,
                "to_batch": to_batch,
            },
        )
    # Last: after a run that is killed before this, the next run reports the same again.
    connection.execute(
        "update warehouse.touched_periods set reported_to_dagster = true "
        "where touched_period_id = any(%s)",
        (reported,),
    )


def _job(
    name: str, description: str, target: str | None, *, lands: bool = False, exports: bool = False
) -> dg.JobDefinition:
    build, report = _build_op(name, target), _report_op(name, target)

    @dg.job(
        name=name,
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
    "everything",
    "Loads the drop folder, builds all models, runs all checks and exports the marketing row.",
    None,
    lands=True,
    exports=True,
)
marketing_row = _job(
    "marketing_row",
    "Builds the marketing row with the models it needs, checks it and exports it.",
    "int_platform_stats",
    exports=True,
)
traffic = _job("traffic", "Builds the traffic marts with the models they need.", "marts.traffic")


@dg.job(executor_def=dg.in_process_executor)
def watch() -> None:
    """Checks how fresh marts and row are, how much landed or waits, and the columns of staging."""
    run_monitoring_checks()


JOBS = [everything, marketing_row, traffic, watch]
