"""Scheduled runs: what landed, built incrementally by one dbt invocation, checked and exported.

They are jobs of plain ops, because one run writes assets of all kinds of partitions; what a run has
touched it tells Dagster afterwards, as a materialization of each partition, late days included.
"""

# No postponed annotations here: Dagster looks at that of `context` itself.
from collections.abc import Iterable, Iterator

import dagster as dg
import psycopg
from dagster_dbt import DbtCliResource
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from orchestration.definitions.checks import suite_results, watch_results, watched
from orchestration.definitions.dbt_assets import (
    BUILDS,
    MARK_REPORTED,
    Translator,
    building,
    parents,
    with_query,
)
from orchestration.definitions.landing import landed
from orchestration.definitions.marketing_row import export_result
from orchestration.definitions.partitions import PARTITIONS, key_of, period_of
from orchestration.operations.build import BuildOptions, dbt_command, slide
from orchestration.operations.lineage import manifest, with_ancestors
from orchestration.operations.notifications import note_checks

# What builds touched that nobody has told of, the whole of a model and its periods: the build of
# this run, those by hand, and those that broke off before they were told of.
UNREPORTED = """
    select
        t.model, t.period_start, max(o.row_count), sum(t.rows_written)::bigint,
        min(t.from_batch), max(t.to_batch)
    from warehouse.touched_periods as t
    inner join warehouse.builds as b on t.invocation_id = b.invocation_id
    inner join warehouse.model_offsets as o on t.model = o.model
    where not b.reported_to_dagster
    group by t.model, t.period_start
    order by t.model, t.period_start
"""

Result = dg.MaterializeResult | dg.AssetCheckResult
Event = dg.AssetMaterialization | dg.AssetCheckEvaluation | dg.Output


def _told(results: Iterable[Result]) -> Iterator[Event]:
    """Yield results as events of a plain op. Raises dg.Failure at the end if an error check failed.

    They are yielded, not logged: of an op that fails Dagster keeps only what it has yielded.
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
        raise dg.Failure(f"Checks failed: {', '.join(failed)}. What is downstream stays as it was.")


AFTER = {"after": dg.In(dg.Nothing)}
DONE = dg.Out(dg.Nothing)


@dg.op(out=DONE)
def load_dropped_files(context: dg.OpExecutionContext) -> Iterator[Event]:
    """Load what waits in the drop folder."""
    yield from _told(landed(context.log, context.run_id))
    yield dg.Output(None)


@dg.op(ins=AFTER, out=DONE)
def check_what_landed() -> Iterator[Event]:
    """Hold what landed since the last passing run against the contract."""
    yield from _told(suite_results("raw_events", "event_batches"))
    yield dg.Output(None)


@dg.op(ins=AFTER, out=DONE)
def check_the_row() -> Iterator[Event]:
    """Hold the candidate of the marketing row against what the site was promised."""
    yield from _told(suite_results("platform_stats"))
    yield dg.Output(None)


@dg.op(ins=AFTER, out=DONE)
def export_the_row(context: dg.OpExecutionContext) -> Iterator[Event]:
    """Write the marketing row, if every blocking check has passed."""
    yield from _told([export_result(context.run_id)])
    yield dg.Output(None)


@dg.op(out=DONE)
def watch_over_all(context: dg.OpExecutionContext) -> Iterator[Event]:
    """Look at freshness, volume and the shape of staging; people are told by check, not by run."""
    results = list(watch_results())
    note_checks(context.run_id, watched(results))
    yield from _told(results)
    yield dg.Output(None)


def _build_op(job: str, of: str | None) -> dg.OpDefinition:
    """Return the op that builds what a model or family of marts needs, or all."""

    @dg.op(name=f"build_{job}", ins=AFTER, out=DONE, pool=BUILDS)
    def build_what_is_new(context: dg.OpExecutionContext, dbt: DbtCliResource) -> Iterator[Event]:
        models = None if of is None else _lineage_of(of)
        with building(models, BuildOptions()) as connection:
            if slide(connection, models=None if models is None else sorted(models)):
                context.log.info("Nothing is new: only what slides with time is rewritten.")
                yield from _materializations(connection)
                # Once a day all tests run, whatever is new: what was right may have been spoilt.
                if of is None:
                    yield from _run_dbt(dbt, "test")
            else:
                try:
                    yield from _run_dbt(dbt, "build", of)
                except DagsterDbtCliRuntimeError:
                    # Of a build that failed some models stand.
                    yield from _materializations(connection)
                    raise
                yield from _materializations(connection)
        yield dg.Output(None)

    return build_what_is_new


def _run_dbt(
    dbt: DbtCliResource, command: str, of: str | None = None
) -> Iterator[dg.AssetCheckEvaluation]:
    """Run dbt and yield what its tests find; models are told of when all are written."""
    selection = ["--select", f"+{of}", "--indirect-selection", "buildable"] if of else []
    invocation = dbt.cli(
        [*dbt_command(command), *selection],
        manifest=manifest(),
        dagster_dbt_translator=Translator(),
    )
    for message in invocation.stream_raw_events():
        for event in message.to_default_asset_events(
            manifest(), Translator(), target_path=invocation.target_path
        ):
            if isinstance(event, dg.AssetCheckEvaluation):
                yield with_query(event, invocation.target_path)


def _lineage_of(of: str) -> set[str]:
    """Return the models that a model, or the marts of a folder, are built from, and these."""
    named = [
        node["name"]
        for node in manifest()["nodes"].values()
        if node["resource_type"] == "model" and of in {node["name"], ".".join(node["fqn"][1:-1])}
    ]
    return with_ancestors(named, parents()) & parents().keys()


def _materializations(connection: psycopg.Connection) -> Iterator[dg.AssetMaterialization]:
    """Yield what builds touched as materializations, of each partition where there are any."""
    nodes = {node["name"]: node for node in manifest()["nodes"].values()}
    untold = connection.execute(UNREPORTED).fetchall()
    for model, period_start, row_count, rows_written, from_batch, to_batch in untold:
        if model not in nodes:
            continue
        node = nodes[model]
        period = period_of(node)
        if (period is None) != (period_start is None):
            continue
        key = None
        if period:
            key = key_of(period_start)
            # Before the first one, where partitions begin later than the data.
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
    # Only now: of a run that is killed meanwhile the next one tells again.
    connection.execute(MARK_REPORTED, ("-infinity",))


def _job(
    name: str, description: str, of: str | None, *, lands: bool = False, exports: bool = False
) -> dg.JobDefinition:
    build = _build_op(name, of)

    @dg.job(
        name=name,
        description=description,
        # One process: dbt, Great Expectations and their libraries are loaded once.
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        checked = check_what_landed(load_dropped_files()) if lands else check_what_landed()
        built = build(checked)
        if exports:
            export_the_row(check_the_row(built))

    return job


everything = _job(
    "everything",
    "Drop folder, all models, all checks and the marketing row.",
    None,
    lands=True,
    exports=True,
)
marketing_row = _job(
    "marketing_row", "What the marketing row is built from, and the row.", "int_platform_stats",
    exports=True,
)  # fmt: skip
traffic = _job("traffic", "The traffic marts and what they are built from.", "marts.traffic")


@dg.job(executor_def=dg.in_process_executor)
def watch() -> None:
    """Freshness of marts and row, volume of what landed, shape of staging."""
    watch_over_all()


JOBS = [everything, marketing_row, traffic, watch]
