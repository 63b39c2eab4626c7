"""Assets of operational databases: one for each stream, where the environment has their URL."""

# No postponed annotations: Dagster evaluates the annotation of `context` itself.
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import dagster as dg

from ingestion.sources.files import SourceError
from ingestion.sources.postgres.declared import DeclaredSource, configured_sources
from ingestion.sources.postgres.pull import Pulled, opened, pull
from orchestration.definitions.dbt_assets import OWNERS
from orchestration.definitions.timetable import PULL_WHEN
from orchestration.operations.pulling import PULL_LIMIT, StreamAge, stream_ages
from warehouse import database

GROUP = "sources"
FRESHNESS_CHECK = "was_pulled_lately"


@dataclass(frozen=True, slots=True)
class SourceDefinitions:
    """What Dagster knows of one source."""

    source: DeclaredSource
    assets: dg.AssetsDefinition
    check: dg.AssetChecksDefinition
    # The type of define_asset_job's result is not public.
    job: Any


def key_of(source: DeclaredSource, stream: str) -> dg.AssetKey:
    """Return the asset of a stream."""
    return dg.AssetKey([GROUP, source.name, stream])


def definitions_of(source: DeclaredSource) -> SourceDefinitions:
    """Return the assets, the check and the job of a source."""

    @dg.multi_asset(
        name=f"pull_{source.name}",
        description=f"Pulls the new rows of {source.name} into staging.",
        specs=[
            dg.AssetSpec(
                key_of(source, stream),
                description=f"The rows of {source.name} that {stream}.sql selects, as they land in "
                "staging.",
                group_name=GROUP,
                owners=OWNERS,
                metadata={"kept_fresh_by": f"job pull_{source.name}, {PULL_WHEN}"},
            )
            for stream in source.streams
        ],
        can_subset=True,
    )
    def assets(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        chosen = {key.path[-1] for key in context.selected_asset_keys}
        yield from pull_streams(
            context.log, source, [stream for stream in source.streams if stream in chosen]
        )

    @dg.multi_asset_check(
        name=f"{source.name}_freshness",
        specs=[
            dg.AssetCheckSpec(
                FRESHNESS_CHECK,
                asset=key_of(source, stream),
                description=f"Its last pull is no older than {PULL_LIMIT}.",
            )
            for stream in source.streams
        ],
        can_subset=True,
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        selected = {one.asset_key for one in context.selected_asset_check_keys}
        for result in freshness_of(source):
            if result.asset_key in selected:
                yield result

    job = dg.define_asset_job(
        f"pull_{source.name}",
        selection=dg.AssetSelection.assets(assets) - dg.AssetSelection.checks(check),
        description=f"Pulls the new rows of the source {source.name}.",
        executor_def=dg.in_process_executor,
    )
    return SourceDefinitions(source, assets, check, job)


def pull_streams(
    log: dg.DagsterLogManager, source: DeclaredSource, streams: Sequence[str]
) -> Iterator[dg.MaterializeResult]:
    """Pull streams; yield those that landed. Raises dg.Failure at the end if any failed."""
    errors = []
    try:
        with opened(source) as context:
            if context.warning:
                log.warning(context.warning)
            for pulled in pull(context, streams):
                if pulled.error:
                    log.error(pulled.error)
                    errors.append(pulled.error)
                    continue
                ages = stream_ages(context.control, source.name)
                yield dg.MaterializeResult(
                    key_of(source, pulled.stream), metadata=_metadata(pulled, ages[pulled.stream])
                )
    except SourceError as error:
        errors.append(str(error))
    if errors:
        raise dg.Failure(" ".join(errors))


def _metadata(pulled: Pulled, age: StreamAge) -> dict[str, int | float | str]:
    lag = {} if age.lag is None else {"lag_seconds": age.lag.total_seconds()}
    since = pulled.since.isoformat() if pulled.since else "the start"
    return asdict(pulled.counts) | lag | {"rows_since": since}


def freshness_results() -> Iterator[dg.AssetCheckResult]:
    """Yield for each stream of all configured sources whether it was pulled lately."""
    for one in SOURCES:
        yield from freshness_of(one.source)


def freshness_of(source: DeclaredSource) -> Iterator[dg.AssetCheckResult]:
    """Yield for each stream of a source whether it was pulled lately."""
    with database.connect(application_name="warehouse freshness") as connection:
        ages = stream_ages(connection, source.name)
    for stream in source.streams:
        age = ages.get(stream, StreamAge())
        yield dg.AssetCheckResult(
            asset_key=key_of(source, stream),
            check_name=FRESHNESS_CHECK,
            passed=age.is_fresh,
            # It must not block builds: what is there is right, only old.
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"detail": f"{source.name}/{stream}: {age.described}"},
        )


def _definitions() -> list[SourceDefinitions]:
    found, errors = configured_sources()
    for error in errors:
        # One source that is declared wrongly does not stop all else.
        logging.getLogger("dagster").warning("A source is not pulled: %s", error)
    return [definitions_of(source) for source in found]


SOURCES = _definitions()
