"""What builds, loads and exports have written, as Dagster's materializations.

They write into the warehouse whoever starts them: a run of Dagster, the command line, the demo.
From what the warehouse recorded of it, Dagster learns which assets and partitions are up to date.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from graphlib import TopologicalSorter
from itertools import islice
from typing import Any

import dagster as dg
import psycopg
import sqlalchemy
from dagster._core.storage.event_log import SqliteEventLogStorage
from psycopg.rows import dict_row

from orchestration.definitions.dbt_assets import PARTITIONS, Translator
from orchestration.definitions.marketing_row import ROW, row_metadata
from orchestration.definitions.partitions import key_of, period_of
from orchestration.definitions.timetable import parents
from orchestration.operations.lineage import manifest
from warehouse.sql_files import read_sql

UNREPORTED = read_sql(__file__, "unreported_periods")
LAST_EXPORT = """
    select active_users, questions_answered, pdf_downloads, engagement_rate, updated_at, ended_at
    from warehouse.exports where state = 'done' order by export_id desc limit 1
"""
# Events that are stored in one transaction, which other processes of Dagster wait for.
EVENTS_AT_A_TIME = 200

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


def everything_built(
    connection: psycopg.Connection, instance: dg.DagsterInstance, models: Collection[str] | None
) -> Iterator[dg.AssetMaterialization]:
    """Yield what builds have brought up to date of some models, or of all.

    To be asked after a build of these models that succeeded. Partitions that it found nothing to
    write for are stored here: at first they are thousands.
    """
    written, ids = _written(connection, models)
    yield from (one for one in written if one.partition)
    report_in_batches(instance, _empty_partitions(connection, instance, models, written))
    yield from _up_to_date(instance, models, written)
    # Last: after a run that is killed before this, the next run reports the same again.
    _mark_reported(connection, ids)


def only_written(
    connection: psycopg.Connection, models: Collection[str] | None
) -> Iterator[dg.AssetMaterialization]:
    """Yield what builds wrote, also failed ones, of some models, or of all."""
    written, ids = _written(connection, models)
    yield from written
    _mark_reported(connection, ids)


def _written(
    connection: psycopg.Connection, models: Collection[str] | None
) -> tuple[list[dg.AssetMaterialization], list[int]]:
    """Return what builds wrote and nobody has reported yet, and its rows of touched_periods.

    One materialization of each partition, or one of a model without partitions.
    """
    nodes = _nodes(models)
    found: list[dg.AssetMaterialization] = []
    reported: list[int] = []
    unreported = connection.execute(
        UNREPORTED, {"models": None if models is None else sorted(models)}
    ).fetchall()
    for model, period_start, row_count, rows_written, from_batch, to_batch, ids in unreported:
        period = period_of(nodes[model]) if model in nodes else None
        key = key_of(period_start) if period and period_start else None
        # Partitions begin with the first event that had landed when this process started: that of
        # an earlier event waits for the next run.
        if period and key and not PARTITIONS[period].has_partition_key(key):
            continue
        reported += ids
        if model in nodes and (period is None) == (period_start is None):
            metadata = {
                "dagster/row_count": row_count,
                "rows_written": rows_written,
                "from_batch": from_batch,
                "to_batch": to_batch,
            }
            asset = Translator().get_asset_key(nodes[model])
            found.append(dg.AssetMaterialization(asset, partition=key, metadata=metadata))
    return found, reported


def _mark_reported(connection: psycopg.Connection, ids: list[int]) -> None:
    connection.execute(
        "update warehouse.touched_periods set reported_to_dagster = true "
        "where touched_period_id = any(%s)",
        (ids,),
    )


def _empty_partitions(
    connection: psycopg.Connection,
    instance: dg.DagsterInstance,
    models: Collection[str] | None,
    written: Collection[dg.AssetMaterialization],
) -> Iterator[dg.AssetMaterialization]:
    """Yield the partitions of models that builds have computed, but found nothing to write for."""
    last_days = _last_days(connection)
    reported = {(one.asset_key, one.partition) for one in written}
    for model, node in _nodes(models).items():
        period = period_of(node)
        if period is None or model not in last_days:
            continue
        asset = Translator().get_asset_key(node)
        known = instance.get_materialized_partitions(asset)
        for key in PARTITIONS[period].get_partition_keys():
            is_computed = key <= key_of(last_days[model])
            if is_computed and key not in known and (asset, key) not in reported:
                yield dg.AssetMaterialization(asset, partition=key, metadata={"rows_written": 0})


def _last_days(connection: psycopg.Connection) -> dict[str, date]:
    """Return the last day that each model was computed for."""
    return {
        # The model has seen the events before `as_of`.
        model: (as_of.astimezone(UTC) - timedelta(microseconds=1)).date()
        for model, as_of in connection.execute(
            "select model, least(as_of, warehouse.last_as_of()) from warehouse.model_offsets "
            "where warehouse.last_as_of() is not null"
        )
    }


def _up_to_date(
    instance: dg.DagsterInstance,
    models: Collection[str] | None,
    written: Collection[dg.AssetMaterialization],
) -> Iterator[dg.AssetMaterialization]:
    """Yield the unpartitioned models that were ``written``, or have read what is new.

    The latter are views, and tables that nothing new concerned: Dagster would show them as never
    materialized, or as out of sync. It compares times, so inputs come first.
    """
    nodes = _nodes(models)
    assets = {name: Translator().get_asset_key(node) for name, node in nodes.items()}
    now = datetime.now(UTC).timestamp()
    of_asset = {one.asset_key: one for one in written if not one.partition}
    above = {name: parents().get(name, set()) for name in nodes}
    inputs = {
        name: [assets.get(parent) or dg.AssetKey(parent.split(".")) for parent in above[name]]
        for name in nodes
    }
    latest = latest_materializations(instance, {*assets.values()}.union(*inputs.values()))
    latest |= {one.asset_key: now for one in written if one.partition}
    order = TopologicalSorter({name: above[name] & nodes.keys() for name in nodes})
    for name in order.static_order():
        asset = assets[name]
        if period_of(nodes[name]) is not None:
            continue
        last = latest.get(asset)
        has_new_input = last and any(latest.get(key, last) > last for key in inputs[name])
        if asset in of_asset or last is None or has_new_input:
            latest[asset] = now
            yield of_asset.get(asset) or dg.AssetMaterialization(asset)


def exported(
    connection: psycopg.Connection, instance: dg.DagsterInstance
) -> Iterator[dg.AssetMaterialization]:
    """Yield the last export of the marketing row, if Dagster does not know of it yet."""
    with closing(connection.cursor(row_factory=dict_row)) as cursor:
        last: dict[str, Any] | None = cursor.execute(LAST_EXPORT).fetchone()
    known = latest_materializations(instance, [ROW]).get(ROW, 0)
    if last and last.pop("ended_at").timestamp() > known:
        yield dg.AssetMaterialization(ROW, metadata=row_metadata(last))


def report_in_batches(instance: dg.DagsterInstance, events: Iterable[Event]) -> None:
    """Store events that belong to no run, many at a time."""
    # An instance of its own, because the storage of a run's instance is used meanwhile.
    own = dg.DagsterInstance.from_ref(instance.get_ref()) if instance.is_persistent else None
    with own or nullcontext(instance) as target:
        waiting = iter(events)
        while batch := list(islice(waiting, EVENTS_AT_A_TIME)):
            with _one_transaction(target):
                for event in batch:
                    target.report_runless_asset_event(event)


@contextmanager
def _one_transaction(instance: dg.DagsterInstance) -> Iterator[None]:
    """Store events in one transaction where Dagster keeps them in SQLite.

    Dagster opens two databases for each event, and waits for the disk four times: 12 ms an event
    instead of one. It can write batches, but does so with PostgreSQL alone.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        yield
        return
    open_: dict[str, sqlalchemy.Connection] = {}

    @contextmanager
    def connect(shard: str) -> Iterator[sqlalchemy.Connection]:
        if shard not in open_:
            with own(shard):
                pass
            engine = sqlalchemy.create_engine(
                storage.conn_string_for_shard(shard), connect_args={"timeout": 20}
            )
            open_[shard] = engine.connect()
        yield open_[shard]

    own = storage._connect
    storage._connect = connect  # type: ignore[method-assign]
    try:
        yield
        for connection in open_.values():
            connection.commit()
    finally:
        del storage._connect
        for connection in open_.values():
            connection.close()


def _nodes(models: Collection[str] | None) -> dict[str, Mapping[str, Any]]:
    """Return dbt's nodes that are assets, by name: those of some models, or all."""
    return {
        node["name"]: node
        for node in manifest()["nodes"].values()
        if node["resource_type"] in {"model", "seed"} and (models is None or node["name"] in models)
    }


def latest_materializations(
    instance: dg.DagsterInstance, assets: Collection[dg.AssetKey]
) -> dict[dg.AssetKey, float]:
    """Return when assets were last materialized, in seconds since 1970."""
    found = instance.get_latest_materialization_events(list(assets))
    return {asset: event.timestamp for asset, event in found.items() if event}
